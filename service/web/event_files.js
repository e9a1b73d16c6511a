// Events as files: a CSV like that of `earful classify`, and a label track of Audacity.

/** Rows of a CSV; a label that a person gave has no score. */
export const eventRows = (filename, events, labelOf) => [
  ["filename", "start", "end", "label", "score"],
  ...events.map(({ start, end, label, score }, index) => [
    filename, start, end, labelOf(index), labelOf(index) === label ? score : "",
  ]),
];

/** A label track: start, end and label on each line. */
export const audacityTrack = (events, labelOf) => events.map(({ start, end }, index) =>
  `${start.toFixed(6)}\t${end.toFixed(6)}\t${labelOf(index).replace(/\s+/g, " ")}\n`).join("");

// Runs of true values, and slices that reach beyond an array: as data/audio/runs.py.

/** The elements of two typed arrays of one kind. */
export function concatenate(first, second) {
  const all = new first.constructor(first.length + second.length);
  all.set(first);
  all.set(second, first.length);
  return all;
}

/** A copy of `length` values from position `first`, zeros where there are none. */
export function padded(values, first, length) {
  const copy = new values.constructor(length);
  const found = values.subarray(Math.max(0, first), Math.max(0, first + length));
  copy.set(found, Math.min(length, Math.max(0, -first)));
  return copy;
}

/** How many of the first values are true. */
export function runLength(values) {
  const end = values.findIndex((value) => !value);
  return end < 0 ? values.length : end;
}

/** [first, end] of the longest run of true values; of equal ones the first. */
export function longestRun(values) {
  let best = [0, 0], start = 0;
  for (let i = 0; i <= values.length; i++) {
    if (values[i]) continue; // also false at the end
    if (i - start > best[1] - best[0]) best = [start, i];
    start = i + 1;
  }
  return best;
}

// How scores become labels: models/bundle/decision.py and Classifier.decide in JavaScript.
import { SEPARATOR } from "../labels.js";

const DECISION_THRESHOLD = 0.5;
const UNKNOWN_LABEL = "unknown";

/** Positions of the predicted labels, in the model's order: the best one, of a multi-label model all likely ones. */
export function likelyLabels(scores, scoreKind) {
  const best = bestLabel(scores);
  if (scoreKind === "softmax") return [best];
  return [...scores.keys()].filter((i) => i === best || scores[i] >= DECISION_THRESHOLD);
}

/** {label, score} for the scores of a clip; below `minScore` the label is "unknown". */
export function decide(scores, { labels, score_kind }, minScore) {
  const top = scores[bestLabel(scores)];
  if (!(top >= minScore)) return { label: UNKNOWN_LABEL, score: top };
  const likely = likelyLabels(scores, score_kind);
  return { label: likely.map((i) => labels[i]).join(SEPARATOR), score: Math.min(...likely.map((i) => scores[i])) };
}

/** All labels with their scores, best first. */
export const rank = (scores, labels) =>
  labels.map((label, i) => ({ label, score: scores[i] })).sort((a, b) => b.score - a.score);

const bestLabel = (scores) => scores.reduce((best, score, i) => (score > scores[best] ? i : best), 0);

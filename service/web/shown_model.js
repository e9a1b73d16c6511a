// The model whose results the page shows: the body of `v1/model`, or model.json of a static site.

/**
 * Null until it is known. It has labels, score_kind, clip_seconds, sample_rate_hz and version; and
 * `requestMap(clip, label)`, a promise of where it listened, if that can be asked for.
 */
export let model = null;

export function setModel(newModel) {
  model = newModel;
}

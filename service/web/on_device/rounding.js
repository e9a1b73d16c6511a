// Numbers rounded as Python rounds them, so that windows begin at the same samples.

/** The nearest whole number; of two equally near the even one. */
export function roundHalfEven(x) {
  const below = Math.floor(x), part = x - below;
  if (part !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}

/** Seconds with three decimals. */
export function roundThousandths(x) {
  // Sixteenths with an odd numerator lie half way between two thousandths, and no other number does.
  if (Number.isInteger(16 * x) && !Number.isInteger(8 * x)) return roundHalfEven(1000 * x) / 1000;
  return Number(x.toFixed(3));
}

// Times as people read them.

/** 83.456 as 1:23.5, with `decimals` digits after the point; hours only where there are some. */
export function timeText(seconds, decimals = 0) {
  const unit = 10 ** decimals, total = Math.round(seconds * unit);
  const hours = Math.floor(total / 3600 / unit), minutes = Math.floor(total / 60 / unit) % 60;
  const rest = ((total % (60 * unit)) / unit).toFixed(decimals).padStart(decimals ? decimals + 3 : 2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

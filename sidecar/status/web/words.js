// How figures are written for people.

export function span(seconds) {
  if (!(seconds > 0)) return "0 ms";
  if (seconds < 0.00995) return `${+(seconds * 1000).toFixed(seconds < 0.001 ? 2 : 1)} ms`;
  if (seconds < 1) return `${(seconds * 1000).toFixed(0)} ms`;
  if (seconds < 10) return `${+seconds.toFixed(1)} s`;
  return seconds < 120 ? `${seconds.toFixed(0)} s` : age(seconds);
}

export function age(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`;
}

export function perSecond(rate) { return `${rate > 0 && rate < 10 ? +rate.toFixed(1) : Math.round(rate)}/s`; }

export function percent(share) { return `${+(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`; }

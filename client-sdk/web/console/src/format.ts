// Numbers and times as the console shows them.

const whole = new Intl.NumberFormat("en");
const when = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const count = (number: number): string => whole.format(number);
export const fullTime = (ms: number): string => when.format(ms);
export const shortTime = (ms: number): string => day.format(ms);
export const clockTime = (ms: number): string => clock.format(ms);
export const some = (number: number, noun: string): string => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Three digits and a unit. */
export function bytes(number: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let at = 0;
  while (number >= 1_024 && at < units.length - 1) [number, at] = [number / 1_024, at + 1];
  return `${digits(number)} ${units[at]}`;
}
export function millis(ms: number | undefined): string {
  if (ms === undefined) return "–";
  return ms >= 1_000 ? `${digits(ms / 1_000)} s` : `${digits(ms)} ms`;
}
export function rate(perSecond: number): string {
  return `${digits(perSecond)}/s`;
}
function digits(number: number): string {
  if (number === 0 || number >= 100) return whole.format(Math.round(number));
  return number >= 10 ? number.toFixed(1) : number.toFixed(2);
}
/** A span as people say it. */
export function span(seconds: number): string {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5_400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3_600)} h` : `${Math.round(seconds / 86_400)} days`;
}

/** Times as servers write them for programs. */

/** `20251123074500.123`, in UTC: RFC 3659, 2.3. */
export function parseTime(text: string): number | undefined {
  const [, year, month, day, hour, minute, second, fraction = ""] =
    /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\.\d{1,9})?/.exec(text.trim()) ?? [];
  if (year === undefined) return undefined;
  const whole = Date.UTC(
    +year,
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
  );
  return whole + Math.round(Number(`0${fraction}`) * 1000);
}

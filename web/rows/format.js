/** Formats numbers and names for people. Pure. */

/** "0.75", "1.00", "-0.30": at least two decimals, and no rounding errors of binary fractions. */
export function weightText(weight) {
  if (typeof weight !== "number" || !Number.isFinite(weight)) return String(weight ?? "");
  const rounded = Math.round(weight * 10000) / 10000;
  const decimals = (String(rounded).split(".")[1] ?? "").length;
  return rounded.toFixed(Math.max(2, decimals));
}

/** The number that a user typed, with a point or a comma as the decimal sign; null if it isn't a number. */
export function typedWeight(text) {
  const plain = text.trim().replace("−", "-").replace(",", ".");
  if (!/^[+-]?(\d+\.?\d*|\.\d+)$/.test(plain)) return null;
  return Number(plain);
}

/** A number of bytes in the units that services use: 170.5 MB. */
export function sizeText(bytes) {
  if (!Number.isFinite(bytes) || bytes < 0) return "";
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  if (bytes < 1e9) return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 1 : 0)} MB`;
  return `${(bytes / 1e9).toFixed(2)} GB`;
}

// Marks that change the reading direction, and invisible characters: a name must not rearrange the page's text.
// eslint-disable-next-line no-control-regex
const UNSHOWN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\u{e0000}-\u{e007f}]/gu;
const HALF_OF_A_PAIR = /[\ud800-\udbff]$/;

/** Untrusted text on one line, with at most `most` characters. */
export function plain(text, most = 120) {
  const line = String(text ?? "")
    .slice(0, most * 4)
    .replace(UNSHOWN, " ")
    .replace(/\s+/g, " ")
    .trim();
  return line.length > most ? `${line.slice(0, most - 1).replace(HALF_OF_A_PAIR, "")}…` : line;
}

/** A name for a model of which only the identifier is known. */
export function shortModel(model) {
  const text = plain(model, 400).replace(/^urn:air:[^:]*:lora:/, "");
  if (text.startsWith("local:"))
    return plain((text.slice(6).split("/").at(-1) ?? "").replace(/\.(safetensors|sft)$/i, ""), 80);
  // Half of the files there are called "lora" or "pytorch_lora_weights"; only the repository distinguishes them.
  if (/^(huggingface|hf):/.test(text))
    return plain(
      text
        .replace(/^[^:]*:/, "")
        .split("@")[0]
        .split("/")
        .slice(0, 2)
        .join("/"),
      80,
    );
  if (/^sha256:/.test(text)) return `${text.slice(0, 19)}…`;
  return plain(text, 80);
}

/** An error's message and remedy as sentences. Adds the full stop, which some of the server's texts don't have. */
export function told(error) {
  const sentences = [error?.message, error?.remedy].filter(Boolean).map((each) => plain(each, 300));
  return sentences.map((each) => (/[.!?…]$/.test(each) ? each : `${each}.`)).join(" ");
}

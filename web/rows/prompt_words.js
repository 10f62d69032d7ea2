/** Trigger words in a prompt's text. Pure. */

/**
 * Appends missing words to a prompt.
 * @param {string} prompt @param {string[]} words
 * @returns {{text: string, added: string[]}}
 */
export function appended(prompt, words) {
  const there = new Set(partsOf(prompt));
  const added = words.filter((word) => !partsOf(word).every((part) => there.has(part)));
  if (!added.length) return { text: prompt, added };
  const before = prompt.replace(/[,\s]+$/, "");
  return { text: [before, ...added].filter(Boolean).join(", "), added };
}

/** The parts between commas, without the brackets of emphasis: "(neon city:1.2)" has "neon city". */
const partsOf = (text) =>
  text
    .split(/[,\n]/)
    .map((part) =>
      part
        .replace(/[([\])]/g, " ")
        .replace(/:[\d.]+\s*$/, "")
        .replace(/\s+/g, " ")
        .trim()
        .toLowerCase(),
    )
    .filter(Boolean);

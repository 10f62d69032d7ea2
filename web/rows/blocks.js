/** Block weights as bars: converts an entry's value to a factor for each block, and back. Pure. */

/** Presets by structure, then the community's, as in `lora_resolver/array/block_weights.py`. */
export const STRUCTURAL = ["early", "middle", "late", "attention", "mlp", "input", "output", "single", "double"].concat(
  ["no text encoder"],
);
export const COMMUNITY = ["INS", "IND", "INALL", "MIDD", "OUTD", "OUTS", "OUTALL", "FACE", "PALETTE"];

const MOST = 4;

/** @param {Array<[string, number[]]>} rows name of a row of blocks, and its numbers */
export const blockNames = (rows) => rows.flatMap(([row, numbers]) => numbers.map((number) => `${row}.${number}`));

/** Whether a pattern names whole blocks, so that bars can show it completely. */
const isWhole = (pattern) => /^[a-z_]+(\.(\d+(-\d+)?|\*))?$/.test(pattern);

/** Whether a pattern names something outside the rows of blocks, such as `text_encoder` or `img_in`. */
const isOutside = (pattern, rows) => !pattern.startsWith("*") && !rows.some(([row]) => row === pattern.split(".")[0]);

function matches(pattern, block) {
  const [row, which = "*"] = pattern.split(".");
  const [own, number] = block.split(".");
  if (row !== own) return false;
  if (which === "*") return true;
  const [first, last = first] = which.split("-").map(Number);
  return Number(number) >= first && Number(number) <= last;
}

/** Block → factor; null if the entry's value can't be shown block by block. */
export function factorsOf(blocks, rows) {
  const names = blockNames(rows);
  const factors = Object.fromEntries(names.map((name) => [name, 1]));
  if (blocks === null || blocks === undefined) return factors;
  if (typeof blocks === "string" && ["early", "middle", "late"].includes(blocks)) {
    const third = ["early", "middle", "late"].indexOf(blocks);
    const from = Math.floor((third * names.length) / 3);
    const to = Math.floor(((third + 1) * names.length) / 3);
    return Object.fromEntries(names.map((name, index) => [name, index >= from && index < to ? 1 : 0]));
  }
  if (typeof blocks === "string" && ["input", "output", "single", "double"].includes(blocks))
    return Object.fromEntries(names.map((name) => [name, name.startsWith(`${blocks}_`) ? 1 : 0]));
  if (typeof blocks !== "object" || Array.isArray(blocks) || "lbw" in blocks) return null;
  if (!Object.keys(blocks).every((pattern) => isWhole(pattern) || isOutside(pattern, rows))) return null;
  for (const [pattern, factor] of Object.entries(blocks)) {
    for (const name of names) if (matches(pattern, name)) factors[name] = factor;
  }
  return factors;
}

/**
 * The entry's value for these factors: ranges of blocks, without those of factor 1; null if none is left. Patterns in
 * `before` that name anything other than blocks are kept.
 */
export function blocksOfFactors(factors, rows, before = null) {
  const said = typeof before === "object" && before !== null ? Object.entries(before) : [];
  const found = Object.fromEntries(said.filter(([pattern]) => isOutside(pattern, rows)));
  for (const [row, numbers] of rows) {
    let first = null;
    numbers.forEach((number, index) => {
      const factor = factors[`${row}.${number}`];
      first ??= number;
      const next = numbers[index + 1];
      if (next === number + 1 && factors[`${row}.${next}`] === factor) return;
      if (factor !== 1) found[first === number ? `${row}.${number}` : `${row}.${first}-${number}`] = factor;
      first = null;
    });
  }
  return Object.keys(found).length ? found : null;
}

export const withinFactor = (factor) => Math.min(MOST, Math.max(-MOST, Math.round(factor * 100) / 100));

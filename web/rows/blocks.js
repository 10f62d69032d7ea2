/** Block weights as bars: from what an entry says to a factor for each block, and back. Pure. */

/** By structure, then the community's: as `lora_resolver/array/block_weights.py` knows them. */
export const STRUCTURAL = ["early", "middle", "late", "attention", "mlp", "input", "output", "single", "double"].concat(
  ["no text encoder"],
);
export const COMMUNITY = ["INS", "IND", "INALL", "MIDD", "OUTD", "OUTS", "OUTALL", "FACE", "PALETTE"];

const MOST = 4;

/** @param {Array<[string, number[]]>} rows name of a row of blocks, and its numbers */
export const blockNames = (rows) => rows.flatMap(([row, numbers]) => numbers.map((number) => `${row}.${number}`));

/** Whether a pattern names whole blocks, so that bars can show all that it says. */
const isWhole = (pattern) => /^[a-z_]+(\.(\d+(-\d+)?|\*))?$/.test(pattern);

/** Whether a pattern names something beside the rows of blocks, as `text_encoder` or `img_in`. */
const isOutside = (pattern, rows) => !pattern.startsWith("*") && !rows.some(([row]) => row === pattern.split(".")[0]);

function matches(pattern, block) {
  const [row, which = "*"] = pattern.split(".");
  const [own, number] = block.split(".");
  if (row !== own) return false;
  if (which === "*") return true;
  const [first, last = first] = which.split("-").map(Number);
  return Number(number) >= first && Number(number) <= last;
}

/** Block → factor; null where what the entry says cannot be shown block by block. */
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
 * What an entry has to say for these factors: names of blocks in runs, without those of factor 1; null where none is left.
 * What it said of other things than blocks stays.
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

/**
 * Every sentence that the widget shows.
 *
 * English lies here. Other languages lie in `locales/<lang>/main.json` under the key "airLora" with the same names;
 * ComfyUI merges those files and serves them at /i18n, where `loadStrings` reads them once at the start.
 * A name that a language lacks is shown in English. `{word}` stands for a value.
 */

const ENGLISH = Object.freeze({
  list: "LoRAs",
  addLora: "Add LoRA",
  toggleAll: "Switch all LoRAs on or off",
  presets: "Presets",
  jsonViewHint: "Show the lora array as text",
  total: "Total {total}",
  totalHint: "Sum of the weights of all LoRAs that are on.",
  totalAdvice: "{count} LoRAs share one picture. 0.5 to 0.8 each often looks better than more.",
  totalAdviceShort: "0.5–0.8 each is usual",
  empty: "No LoRA yet",
  emptyHint:
    "Add one, or paste an AIR, a page address, a lora array or a prompt with <lora:…>. Files can be dropped here.",
  wired: "Comes over the wire. Shown: what ran last.",
  wiredEmpty: "Comes over the wire. Rows appear after the first run.",
  switchRow: "Use {name}",
  moveRow: "Move {name}. Arrow up and arrow down move it.",
  weight: "Weight of {name}",
  clipWeight: "CLIP weight of {name}",
  clip: "CLIP",
  weightHint: "Drag, type, or use the arrow keys. Shift: larger steps, Alt: finer steps.",
  weightRange: "A weight is a number from {least} to {most}.",
  weightKept: "“{typed}” is not a number from {least} to {most}, so the weight is {weight} again.",
  rowMenu: "More for {name}",
  enlarge: "Enlarge the picture of {name}",
  reveal: "Show the blurred picture of {name}",
  blurredHint: "Blurred: it shows more than the settings allow. Click to see it.",
  onlyFilms: "Its page has films only, so there is no picture.",
  pictures: "Pictures up to this level",
  fits: "Fits the checkpoint ({families}).",
  fitsNot: "Does not fit: {reason}",
  fitsPartly: "Fits partly. Not loaded in the last run: {what}",
  fitsUnknown: "Not known yet whether this fits the checkpoint.",
  fitsNoCheckpoint: "For {families}. No checkpoint is connected, so the fit is not known.",
  stateWrongArchitecture: "wrong architecture",
  stateVersionMissing: "choose a version",
  stateOnDisk: "on disk",
  stateAvailable: "{size} to download",
  stateAvailableUnknown: "to download",
  stateNeedsToken: "needs a token",
  stateHostedOnly: "hosted only",
  stateNotFound: "not found",
  stateOffline: "offline",
  stateError: "not known",
  statePending: "looking…",
  stateUnreadable: "not a LoRA entry",
  stateRepeated: "named twice: weights add up",
  wrongWeight: "weight must be a number from -4 to 4",
  wrongPoints: "the points of the weight are not in order, or out of range",
  wrongWords: "words must be a list of texts",
  wrongSpan: "start must come before end, both from 0 to 1",
  unknownKey: "unknown key",
  noModel: "names no model",
  downloading: "{percent} %, {left} s left",
  downloadingPlain: "{done}",
  phaseWait: "waiting for another download",
  phaseVerify: "checking the file",
  stateNotUsed: "not used",
  stateFailed: "download failed",
  words: "Trigger words of {name}",
  copyWord: "Copy “{word}”. Shift and click: append it to the prompt.",
  copied: "Copied: {text}",
  appended: "Appended to the prompt: {text}",
  appendedBefore: "The prompt has these words already.",
  noPrompt: "No prompt node was found, so it was copied instead: {text}",
  copyFailed: "The browser did not allow copying.",
  openPage: "Open the model page",
  copyAir: "Copy AIR",
  copyFile: "Copy local file name",
  copyWords: "Copy trigger words",
  appendWords: "Append trigger words to the prompt",
  download: "Download now",
  cancelDownload: "Cancel the download",
  changeVersion: "Change version…",
  steps: "Over the steps…",
  stepsTitle: "{name}: weight over the steps",
  stepsLabel: "Over the steps: {what}",
  stepsSame: "The same weight at every step",
  stepNumber: "step {number}",
  weightAtStep: "{weight} at {at}",
  fromStep: "from {at}",
  untilStep: "until {at}",
  stepsPoint: "Point {number}",
  stepsStart: "Start",
  stepsEnd: "End",
  stepsCount: "Counted in",
  stepsCountSteps: "share of the steps",
  stepsCountPercent: "share of the noise",
  stepsCountNumbers: "step numbers",
  stepsHold: "Hold each weight until the next point",
  stepsHint: "Drag the points, or use the arrow keys. Double-click or + adds a point, Delete removes it.",
  stepsAlways: "Always",
  stepsFirstHalf: "First half",
  stepsSecondHalf: "Second half",
  stepsRising: "Rising",
  stepsFalling: "Falling",
  blocks: "On blocks…",
  blocksTitle: "{name}: blocks",
  blocksLabel: "On blocks: {what}",
  blocksStructural: "Presets by structure",
  blocksCommunity: "Presets of the community, for SD 1.5 and SDXL",
  blocksNoCheckpoint: "Connect a checkpoint to see its blocks.",
  blocksUnknown: "not shown as a bar",
  blocksText: "As text",
  blocksAll: "All blocks",
  chooseWords: "Choose trigger words…",
  wordsTitle: "{name}: trigger words that count",
  wordsNone: "None",
  wordsEvery: "All",
  addClipWeight: "Set a CLIP weight",
  removeClipWeight: "Same weight for CLIP",
  moveUp: "Move up",
  moveDown: "Move down",
  duplicate: "Duplicate",
  remove: "Remove",
  savePreset: "Save as preset…",
  savePresetTitle: "Save these LoRAs as a preset",
  presetName: "Name",
  save: "Save",
  cancel: "Cancel",
  close: "Close",
  noPresets: "No preset saved yet",
  deletePreset: "Delete a preset…",
  deletePresetTitle: "Delete a preset",
  copyArray: "Copy all as text",
  presetSaved: "Preset saved: {name}",
  presetDeleted: "Preset deleted: {name}",
  searchTitle: "Add LoRAs",
  searchPlaceholder: "Search, or paste AIRs, addresses, a lora array…",
  searchLabel: "Search for LoRAs or paste what names them",
  onThisDisk: "On this disk",
  onCivitai: "On CivitAI",
  searching: "Searching…",
  nothingFound: "Nothing found.",
  searchFailed: "The search failed: {reason}",
  more: "More",
  add: "Add",
  added: "Added {count}",
  onlyFitting: "Only what fits ({families})",
  onlyFittingIt: "Only what fits the checkpoint",
  sortLabel: "Order of what CivitAI finds",
  sortRelevance: "Best match",
  sortDownloads: "Most downloaded",
  sortNewest: "Newest",
  by: "by {creator}",
  inTheList: "in the list",
  pasteFailed: "Not added: {reason}",
  dropFailed: "{name}: {reason}",
  dropHere: "Drop to add",
  versionsTitle: "Versions of {name}",
  current: "in use",
  noServer: "This needs AIR LoRA's server routes, which did not answer.",
  jsonText: "lora array as JSON",
  jsonError: "This is not a lora array that rows can show: {reason}",
  jsonLenient:
    "This text has more than an array (comments, for example). LoRAs in it: {count}. As rows, the rest of the text goes.",
  jsonTidy: "Turn into rows",
  jsonEmpty: "The text names no LoRA.",
  tokenOf: "{service} token",
  tokenPaste: "Paste the token",
  tokenSet: "Set",
  tokenNotSet: "Not set",
  settingHeld: "Set by {key} where ComfyUI was started. Change it there.",
  settingDefault: "default",
  folder: "Download folder",
  folderFirst: "the first loras folder",
  folderElsewhere: "a folder set elsewhere",
  connections: "Parallel connections",
  offline: "Offline",
  storeNone: "Not set. Name one in {key} where ComfyUI is started.",
  storeFolder: "A folder of this server",
  errorInRow: "LoRA {number} ({place})",
  errorInNamedRow: "LoRA {number} ({place}): {name}",
  errorInOther: "LoRA at {place}",
  errorsMore: "{count} more LoRAs have errors",
});

let words = {};

/** Takes the sentences of one language; names that it lacks stay English. */
function useStrings(dictionary) {
  words = dictionary && typeof dictionary === "object" ? dictionary : {};
}

/** The sentence of this name with its values put in. */
export function t(name, values = {}) {
  const sentence = typeof words[name] === "string" ? words[name] : (ENGLISH[name] ?? name);
  return sentence.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));
}

/**
 * Reads what the pack says in the page's language. Without it, everything is in English.
 * @returns {Promise<{nodeDefs?: Record<string, any>, settings?: Record<string, any>}>} for what the widget does not show itself
 */
export async function loadStrings(fetchApi, language) {
  useStrings({});
  if (!language || language === "en") return {};
  try {
    const answer = await fetchApi("/i18n");
    const texts = answer.ok ? ((await answer.json())?.[language] ?? {}) : {};
    useStrings(texts.airLora);
    return texts;
  } catch {
    return {};
  }
}

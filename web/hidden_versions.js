/** Newer versions that the user has hidden, kept in this browser. A still newer version is shown. */

const PLACE = "air-lora.hidden-versions";
const MOST = 500;

/** @returns {string[]} */
function all() {
  try {
    const kept = JSON.parse(localStorage.getItem(PLACE) ?? "[]");
    return Array.isArray(kept) ? kept.filter((each) => typeof each === "string") : [];
  } catch {
    return []; // the browser keeps nothing, or somebody else wrote this
  }
}

/** @param {string} model The identifier of the newer version. */
export const isHidden = (model) => all().includes(model);

/** @param {string | undefined} model @param {boolean} hidden */
export function setHidden(model, hidden) {
  if (model === undefined) return;
  const others = all().filter((each) => each !== model);
  try {
    localStorage.setItem(PLACE, JSON.stringify((hidden ? [...others, model] : others).slice(-MOST)));
  } catch {
    // As above: the version stays as it is shown.
  }
}

import assert from "node:assert/strict";
import { test } from "node:test";

import { loadStrings, t } from "../../web/strings.js";

const answering =
  (document, ok = true) =>
  async () => ({ ok, json: async () => document });
const german = {
  de: { airLora: { save: "Sichern", total: "Summe {total}", close: 7 }, nodeDefs: { AirLoraApply: {} } },
};

test("a language's sentences are shown, and English where it has none", async () => {
  const texts = await loadStrings(answering(german), "de");
  assert.deepEqual(
    [t("save"), t("total", { total: "1.50" }), t("close"), t("cancel")],
    ["Sichern", "Summe 1.50", "Close", "Cancel"],
  );
  assert.deepEqual(texts.nodeDefs, { AirLoraApply: {} });
});

test("without an answer, or in a language that nobody wrote, everything is in English", async () => {
  const fails = async () => {
    throw new TypeError("no network");
  };
  const broken = async () => ({ ok: true, json: async () => JSON.parse("<html>") });
  for (const [ask, language] of [
    [fails, "de"],
    [broken, "de"],
    [answering({}, false), "de"],
    [answering(german), "fr"],
    [answering(null), "de"],
    [fails, "en"],
    [fails, undefined],
  ]) {
    await loadStrings(ask, "de");
    assert.deepEqual(await loadStrings(ask, language), {});
    assert.equal(t("save"), "Save");
  }
});

test("what is put into a sentence stays as it is", async () => {
  await loadStrings(answering({}), "en");
  const name = "{reason} $& $1 {name} <b>";
  assert.equal(t("rowMenu", { name }), `More options for ${name}`);
  assert.equal(t("added", {}), "Added {count}");
  assert.equal(t("no such sentence"), "no such sentence");
});

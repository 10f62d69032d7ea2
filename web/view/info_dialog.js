/** Everything known about one row's LoRA: details from its page and its file, its versions, its trigger words. */

import { plain, sizeText, told } from "../rows/format.js";
import * as edits from "../rows/state.js";
import { t } from "../strings.js";
import { openDialog, showPicture } from "./dialogs.js";
import { el, setAttribute, testId } from "./dom.js";
import { nameOf } from "./row.js";
import { suggestedText } from "./row_marks.js";
import { pageOf } from "./row_menu.js";
import { wordTicks } from "./words_dialog.js";

export async function openInfo(editor, key) {
  const row = editor.rows.find((each) => each.key === key);
  if (!row || !edits.modelOf(row)) return;
  const item = editor.itemOf(key);
  const body = el("div", { class: "air-lora-info", "aria-busy": "true" }, t("searching"));
  const dialog = openDialog(
    t("infoTitle", { name: nameOf(row, item) }),
    "info",
    () => body,
    "air-lora-dialog-tall air-lora-dialog-info",
  );
  const checkpoint = editor.host.checkpoint();
  const answer = await editor.server.post("/air_lora/details", {
    model: edits.modelOf(row),
    ...(checkpoint ? { checkpoint } : {}),
  });
  if (!dialog.isConnected) return;
  setAttribute(body, "aria-busy", null);
  if (!answer.ok) {
    body.replaceChildren(el("p", { class: "air-lora-blocks-fault", role: "alert" }, told(answer.error)));
    return;
  }
  const { data } = answer;
  const parts = [
    picturesOf(editor, data),
    factsOf(data),
    el("div", { class: "air-lora-info-links" }, ...linksOf(editor, data)),
    data.page_error && el("p", { class: "air-lora-hint", role: "note" }, told(data.page_error)),
    wordsOf(editor, key, data),
    versionsOf(editor, key, data, () => dialog.close()),
    section(
      "about",
      t("infoAbout"),
      data.page?.description && el("p", { class: "air-lora-info-text", dir: "auto" }, data.page.description),
    ),
    notesOf(data),
  ];
  body.replaceChildren(...parts.filter(Boolean));
}

function section(id, title, ...content) {
  const there = content.flat().filter(Boolean);
  if (!there.length) return null;
  return el(
    "section",
    { class: "air-lora-info-section", dataset: testId(`info-${id}`) },
    el("h3", { class: "air-lora-section-title" }, title),
    ...there,
  );
}

/** Names and values as a list that a screen reader reads as pairs. @param {Array<[string, any]>} pairs */
function pairsOf(pairs) {
  const said = pairs.filter(([, text]) => text !== null && text !== undefined && text !== "");
  if (!said.length) return null;
  return el(
    "dl",
    { class: "air-lora-info-facts" },
    ...said.flatMap(([name, text]) => [el("dt", {}, name), el("dd", { dir: "auto" }, plain(String(text), 600))]),
  );
}

function picturesOf(editor, data) {
  const shown = (data.pictures ?? []).map((each) => ({
    small: editor.server.thumbnail({ thumbnail: each.address }, 512),
    isHidden: Boolean(each.hidden),
  }));
  const alone = editor.server.thumbnail(data.item, 512);
  if (!shown.length && alone) shown.push({ small: alone, isHidden: Boolean(data.item.thumbnail_hidden) });
  const buttons = shown
    .filter(({ small }) => small)
    .map(({ small, isHidden }, index) => {
      const button = el(
        "button",
        {
          type: "button",
          class: `air-lora-info-picture${isHidden ? " air-lora-blurred" : ""}`,
          title: isHidden ? t("blurredHint") : null,
          "aria-label": t(isHidden ? "reveal" : "infoPicture", {
            number: index + 1,
            name: plain(data.item.title, 100),
          }),
          dataset: testId("info-picture"),
          onclick: () => {
            if (button.classList.contains("air-lora-blurred")) {
              button.classList.remove("air-lora-blurred");
              button.querySelector("img")?.setAttribute("src", small);
              setAttribute(button, "title", null);
              setAttribute(button, "aria-label", t("infoPicture", { number: index + 1 }));
            } else showPicture(plain(data.item.title, 100), small);
          },
        },
        el("img", {
          src: isHidden ? null : small,
          alt: "",
          loading: "lazy",
          draggable: "false",
          onerror: () => button.remove(),
        }),
      );
      return button;
    });
  return buttons.length ? el("div", { class: "air-lora-info-pictures" }, ...buttons) : null;
}

function factsOf(data) {
  const { item, page, file } = data;
  const current = page?.versions?.find((each) => each.is_current);
  const families = (item.family_names ?? []).join(", ");
  const suggested = item.suggested_weight;
  return section("facts", t("infoFacts"), [
    pairsOf([
      [t("infoVersion"), [item.version, current?.published].filter(Boolean).join(" · ")],
      [t("infoBase"), [item.base_model, families && t("infoMadeFor", { families })].filter(Boolean).join(" · ")],
      [t("infoCreator"), page?.creator || item.creator],
      [t("infoWeight"), suggested ? suggestedText(suggested) : ""],
      [t("infoKind"), [item.kind, item.rank && t("infoRank", { rank: item.rank })].filter(Boolean).join(", ")],
      [
        t("infoFile"),
        [item.local_name ?? item.file_name, item.size && sizeText(item.size), file?.dtypes?.join(", ")]
          .filter(Boolean)
          .join(" · "),
      ],
      [t("infoTensors"), file?.tensors],
      ["SHA-256", item.sha256],
      [t("infoLicence"), licenceText(page?.licence)],
      [t("infoTags"), page?.tags?.join(", ")],
    ]),
  ]);
}

function licenceText(licence) {
  if (!licence) return "";
  const said = [licence.name];
  if (licence.credit_needed !== null) said.push(t(licence.credit_needed ? "licenceCredit" : "licenceNoCredit"));
  if (licence.commercial)
    said.push(
      licence.commercial.length ? t("licenceSold", { what: licence.commercial.join(", ") }) : t("licenceNotSold"),
    );
  if (licence.derivatives !== null) said.push(t(licence.derivatives ? "licenceMerges" : "licenceNoMerges"));
  if (licence.same_licence) said.push(t("licenceSame"));
  return said.filter(Boolean).join("; ");
}

function linksOf(editor, data) {
  const page = pageOf(data.item);
  const copy = (id, label, text) =>
    el(
      "button",
      { type: "button", class: "air-lora-plain", dataset: testId(id), onclick: () => editor.copy(text) },
      label,
    );
  return [
    page &&
      el(
        "a",
        {
          class: "air-lora-plain",
          href: page,
          target: "_blank",
          rel: "noopener noreferrer",
          dataset: testId("info-page"),
        },
        t("openPage"),
      ),
    copy("info-copy", t("copyAir"), data.item.model),
  ].filter(Boolean);
}

function wordsOf(editor, key, data) {
  const words = data.item.trigger_words ?? [];
  const row = () => editor.rows.find((each) => each.key === key);
  const now = row();
  if (!words.length && !now?.entry?.words?.length) return null;
  if (editor.readOnly || !now || edits.faultOf(now) !== null)
    return section("words", t("infoWords"), [el("p", { class: "air-lora-info-text", dir: "auto" }, words.join(", "))]);
  const ticks = wordTicks({
    words,
    entry: () => row()?.entry ?? now.entry,
    change: (members) => editor.edit((rows) => edits.setMembers(rows, key, members)),
  });
  return section("words", t("infoWords"), [ticks]);
}

function versionsOf(editor, key, data, close) {
  const versions = data.page?.versions ?? [];
  if (versions.length < 2) return null;
  const isFixed = editor.readOnly;
  const rows = versions.map((version) => {
    const isNewer = version.is_newer;
    const detail = [
      version.base_model,
      version.published,
      version.size ? sizeText(version.size) : "",
      version.is_current ? t("current") : isNewer ? t("versionNewer") : "",
    ];
    return el(
      "div",
      { role: "listitem" },
      el(
        "button",
        {
          type: "button",
          class: "air-lora-choice",
          disabled: isFixed || version.is_current,
          dataset: testId("info-version"),
          onclick: () => {
            close();
            editor.edit((all) => edits.replaceModel(all, key, version.model));
          },
        },
        el("span", { class: "air-lora-choice-label", dir: "auto" }, plain(version.version || version.model, 100)),
        el("span", { class: "air-lora-choice-detail" }, detail.filter(Boolean).join(" · ")),
      ),
      version.about && (isNewer || version.is_current)
        ? el("p", { class: "air-lora-choice-about", dir: "auto" }, version.about)
        : null,
    );
  });
  return section("versions", t("infoVersions"), [el("div", { role: "list" }, ...rows)]);
}

function notesOf(data) {
  if (!data.file) return null;
  const { notes, tags, long } = data.file;
  return section("notes", t("infoNotes"), [
    pairsOf(notes),
    tags.length ? pairsOf([[t("infoCaptions"), tags.map(([tag, count]) => `${tag} (${count})`).join(", ")]]) : null,
    long.length ? el("p", { class: "air-lora-hint" }, t("infoLong", { names: long.join(", ") })) : null,
    !notes.length && !tags.length && !long.length ? el("p", { class: "air-lora-hint" }, t("infoNoNotes")) : null,
  ]);
}

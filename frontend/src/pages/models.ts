// Base models: those here, presets to fetch, downloads on their way, and LLaMA-Factory's catalogue.
import { callAll } from "../api";
import { get, replaceChildrenIfChanged } from "../dom";
import { ImportDialog } from "../import_dialog";
import { t } from "../language";
import type { BaseModel } from "../models";
import { CatalogueList } from "../models/catalogue";
import { buildModelSections } from "../models/list";
import { notify } from "../notices";
import { poll } from "../poll";
import { Tabs } from "../tabs";

const head = get("[data-is-administrator]").dataset;
const person = { username: head["username"] ?? "", isAdministrator: head["isAdministrator"] === "yes" };

const watch = poll(3, async () => {
  const models = await callAll<BaseModel>("/models");
  const viewer = { ...person, onChange: () => void watch.now() };
  replaceChildrenIfChanged(get("#models"), JSON.stringify(models), () => buildModelSections(models, viewer));
});

const catalogue = new CatalogueList(() => void watch.now());
let isCatalogueRead = false;
const tabs = new Tabs((name) => {
  if (name !== "catalogue" || isCatalogueRead) return;
  isCatalogueRead = true;
  void catalogue.load();
});
tabs.showFromAddress();

new ImportDialog<BaseModel>({ prefix: "add", opener: "#add-model", path: "/models" }, (model) => {
  notify(t(`已开始获取“${model.name}”。`, `“${model.name}” is being fetched.`), "good");
  tabs.show("models", true);
  void watch.now();
});

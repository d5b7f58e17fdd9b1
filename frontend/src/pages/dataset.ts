// One dataset: how it stands, what was found in it, its rows, its statistics, and how its columns are read.
import { call } from "../api";
import { drawFacts, drawTiles, drawVersions } from "../data/overview";
import { FindingList } from "../data/findings";
import { drawHead } from "../data/head";
import { ProfileCard } from "../data/profile";
import { MappingForm } from "../data/mapping";
import type { Report } from "../data/report";
import { RowBrowser } from "../data/rows";
import { drawStatistics } from "../data/statistics";
import { type DatasetDetail, isBusy } from "../datasets";
import { get } from "../dom";
import { poll } from "../poll";
import { Tabs } from "../tabs";

const id = get("#dataset").dataset["datasetId"]!;
const url = `/datasets/${encodeURIComponent(id)}`;

let dataset: DatasetDetail | null = null;
let drawnState = "";

const rows = new RowBrowser(url);
const findings = new FindingList(url, (code) => {
  rows.showFinding(code);
  tabs.show("rows", true);
});
const mapping = new MappingForm(url, () => void watch.now());
const profile = new ProfileCard(url);
const tabs = new Tabs((name) => {
  if (name === "rows") void rows.load();
});
tabs.showFromAddress();

const watch = poll(2.5, async () => {
  dataset = await call<DatasetDetail>("GET", url);
  drawHead(dataset, () => void watch.now());
  drawFacts(dataset);
  drawVersions(dataset);
  // Report and rows change only with the state; while a check runs there is nothing to read yet.
  const state = `${dataset.status} ${isBusy(dataset)} ${JSON.stringify(dataset.mapping)} ${dataset.example_count}`;
  if (state === drawnState) return;
  const report = await call<Report>("GET", `${url}/report`);
  drawTiles(dataset, report);
  findings.draw(dataset, report);
  mapping.draw(dataset, report);
  drawStatistics(dataset, report);
  await profile.setDataset(dataset);
  rows.setDataset(dataset, report);
  drawnState = state;
});

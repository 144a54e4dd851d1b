// Opens the reference page in a real browser, sends a call from it, and reads what the page shows of the answer.
//
//   node try.mjs <chromium> <url of the gateway>
//
// The browser is driven over its DevTools protocol, through a pipe: no port, no library. Nothing waits for a time: the page is watched
// for what has to appear, and the whole ends after a minute at the latest.

import { spawn } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const [chromium, gateway] = process.argv.slice(2);
const profile = mkdtempSync(join(tmpdir(), "taskgate-browser-"));
const browser = spawn(
  chromium,
  ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe",
    "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    `--user-data-dir=${profile}`, "about:blank"],
  { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] },
);
const ended = new Promise((resolve) => browser.once("exit", resolve));
// Who listens no more has ended, which is told below.
browser.stdio[3].on("error", () => {});

// One message is JSON with a NUL at its end.
const waiting = new Map();
const faults = [];
const requested = [];
let rest = "";
let number = 0;
browser.stdio[4].setEncoding("utf8").on("data", (text) => {
  const parts = (rest + text).split("\0");
  rest = parts.pop();
  for (const message of parts.map((part) => JSON.parse(part))) {
    if (message.id) waiting.get(message.id)(message);
    if (message.method === "Runtime.exceptionThrown") faults.push(message.params.exceptionDetails.exception?.description ?? "exception");
    if (message.method === "Log.entryAdded" && message.params.entry.level === "error") faults.push(message.params.entry.text);
    if (message.method === "Network.requestWillBeSent") requested.push(message.params.request.url);
  }
});

function send(method, params = {}, sessionId = undefined) {
  return new Promise((resolve, reject) => {
    const id = (number += 1);
    waiting.set(id, (message) => (message.error ? reject(new Error(`${method}: ${message.error.message}`)) : resolve(message.result)));
    browser.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
  });
}

// In the page: resolves with the element as soon as it is there.
const APPEARS = `(selector) => new Promise((resolve) => {
  const look = () => { const found = document.querySelector(selector); if (found) { watch.disconnect(); resolve(found); } };
  const watch = new MutationObserver(look);
  watch.observe(document, { childList: true, subtree: true, attributes: true });
  look();
})`;

async function run() {
  const { targetInfos } = await send("Target.getTargets");
  const page = targetInfos.find((target) => target.type === "page");
  const { sessionId } = await send("Target.attachToTarget", { targetId: page.targetId, flatten: true });
  const inPage = async (body) => {
    const expression = `(async () => { const appears = ${APPEARS}; ${body} })()`;
    const answer = await send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true }, sessionId);
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description ?? "the page failed");
    return answer.result.value;
  };
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await send(`${domain}.enable`, {}, sessionId);
  const loaded = new Promise((resolve) => {
    browser.stdio[4].on("data", (text) => text.includes("Page.loadEventFired") && resolve());
  });
  await send("Page.navigate", { url: `${gateway}/docs#/prime/StopPrimeTask` }, sessionId);
  await loaded;

  // A link to an operation opens it. What the demo prints first: stop a run of the provider whose ids are numbers.
  const shown = await inPage(`
    const id = await appears('.opblock[id$="StopPrimeTask"] tr[data-param-name="id"] input');
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(id, "15");
    id.dispatchEvent(new Event("input", { bubbles: true }));
    (await appears('.opblock[id$="StopPrimeTask"] button.execute')).click();
    const status = await appears('.opblock[id$="StopPrimeTask"] .live-responses-table tr.response .response-col_status');
    const body = await appears('.opblock[id$="StopPrimeTask"] .live-responses-table tr.response .response-col_description .highlight-code');
    return { status: status.innerText.trim().split(/\\s/)[0], body: body.innerText, operations: document.querySelectorAll(".opblock").length };
  `);
  const body = JSON.parse(shown.body.slice(shown.body.indexOf("{"), shown.body.lastIndexOf("}") + 1));
  const expect = (what, holds) => {
    if (!holds) throw new Error(`${what}: ${JSON.stringify(shown)}`);
  };
  expect("the status is that of a stop", ["200", "202"].includes(shown.status));
  expect("the answer is about the task", body.task === "tasks/prime/15" && body.action === "stop");
  expect("the outcome is told", ["done", "accepted"].includes(body.outcome));
  expect("every operation is on the page", shown.operations > 10);
  const elsewhere = requested.filter((url) => !url.startsWith(`${gateway}/`) && !url.startsWith("data:") && url !== "about:blank");
  if (elsewhere.length) throw new Error(`the page asked elsewhere: ${elsewhere.join(" ")}`);
  if (faults.length) throw new Error(`the page complained: ${faults.join("; ")}`);
  return `${shown.operations} operations shown; a stop sent from the page: ${shown.status}, ${body.outcome}`;
}

const late = new Promise((_, reject) => setTimeout(() => reject(new Error("it took more than a minute")), 60_000).unref());
const failed = ended.then((code) => Promise.reject(new Error(`the browser ended with ${code}`)));
failed.catch(() => {});
try {
  console.log(await Promise.race([run(), late, failed]));
} catch (error) {
  console.error(`reference page: ${error.message}`);
  if (faults.length) console.error(faults.join("\n"));
  process.exitCode = 1;
} finally {
  // By itself, so that none of its processes writes into the folder any more; by force where it does not.
  send("Browser.close").catch(() => {});
  const force = setTimeout(() => browser.kill("SIGKILL"), 10_000);
  await ended;
  clearTimeout(force);
  await rm(profile, { recursive: true, force: true, maxRetries: 5 });
}

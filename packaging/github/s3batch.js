// What the steps of the actions share: inputs, the program, its outputs. Node alone, no packages.
"use strict";

const { spawnSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

// the release that pipx runs where no s3batch is on PATH
const VERSION = "0.1.0";

/** Return an input of action.yml; GitHub keeps the hyphens of its name. */
function input(name) {
  return (process.env[`INPUT_${name.toUpperCase()}`] || "").trim();
}

/** Return the lines of an input that are not empty. */
function lines(name) {
  return input(name)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter(Boolean);
}

/** Return whether a program is in a directory of PATH. */
function isOnPath(program) {
  return (process.env.PATH || "").split(path.delimiter).some((folder) => {
    try {
      fs.accessSync(path.join(folder, program), fs.constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Return the variables of the settings that every action has. */
function accessSettings() {
  return {
    S3BATCH_ENDPOINT_URL: input("endpoint-url"),
    S3BATCH_REGION: input("region"),
    S3BATCH_ACCESS_KEY: input("access-key"),
    S3BATCH_SECRET_KEY: input("secret-key"),
  };
}

/** Return the variables of the settings of a cache. Lists are JSON, so that a comma in an item is a comma. */
function cacheSettings() {
  return {
    ...accessSettings(),
    S3BATCH_BUCKET: input("bucket"),
    S3BATCH_PREFIX: input("prefix"),
    S3BATCH_CACHE: JSON.stringify(lines("path")),
    S3BATCH_CACHE_KEY: input("key") && JSON.stringify([input("key")]),
    S3BATCH_RESTORE_KEYS: JSON.stringify(lines("restore-keys")),
    S3BATCH_READ_ONLY: input("read-only"),
  };
}

/** Run s3batch; return its exit code. Settings are variables, so that no secret is in a list of processes. */
function run(words, settings) {
  const [program, ...before] = isOnPath("s3batch")
    ? ["s3batch"]
    : ["pipx", "run", "--spec", `s3batch==${VERSION}`, "s3batch"];
  const given = Object.entries(settings).filter(([, text]) => text && text !== "[]");
  const env = { ...process.env, ...Object.fromEntries(given) };
  const ended = spawnSync(program, [...before, ...words], { env, stdio: "inherit" });
  if (ended.error) {
    const hint = program === "pipx" ? "; install s3batch or pipx on this runner" : "";
    fail(`cannot run ${program}: ${ended.error.message}${hint}`);
    return 1;
  }
  return ended.status === null ? 1 : ended.status;
}

/** Report an error of the step to GitHub. */
function fail(sentence) {
  process.stdout.write(`::error::${sentence.replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A")}\n`);
  process.exitCode = 1;
}

/** Keep a value for the post step; it gets the value as the variable STATE_name. */
function saveState(name, value) {
  if (process.env.GITHUB_STATE) {
    fs.appendFileSync(process.env.GITHUB_STATE, `${name}=${value}\n`);
  }
}

/** Return a new file for the outputs of s3batch, which the caller reads. */
function outputFile() {
  const folder = fs.mkdtempSync(path.join(process.env.RUNNER_TEMP || os.tmpdir(), "s3batch-"));
  return path.join(folder, "outputs");
}

/** Return the outputs in such a file by name. */
function readOutputs(file) {
  const text = fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  return Object.fromEntries(
    text
      .split("\n")
      .filter((line) => line.includes("="))
      .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );
}

module.exports = { VERSION, accessSettings, cacheSettings, fail, input, lines, outputFile, readOutputs, run, saveState };

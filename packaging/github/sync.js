// The one step of the sync action.
"use strict";

const { accessSettings, fail, input, lines, run } = require("./s3batch.js");

/** Return the variables of the lines NAME=VALUE of the input settings. */
function furtherSettings() {
  return Object.fromEntries(
    lines("settings").map((line) => {
      const at = line.indexOf("=");
      if (at < 1) {
        throw new Error(`settings: ${line} is no line NAME=VALUE`);
      }
      return [`S3BATCH_${line.slice(0, at).trim().toUpperCase().replace(/-/g, "_")}`, line.slice(at + 1).trim()];
    }),
  );
}

try {
  const settings = {
    ...accessSettings(),
    ...furtherSettings(),
    S3BATCH_DELETE: input("delete"),
    S3BATCH_DRY_RUN: input("dry-run"),
    S3BATCH_EXCLUDE: JSON.stringify(lines("exclude")),
  };
  process.exitCode = run(["sync", "--", input("source"), input("target")], settings);
} catch (error) {
  fail(error.message);
  process.exitCode = 2;
}

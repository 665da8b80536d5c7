// The main step of the cache action: restore, and tell the post step whether there is something to save.
"use strict";

const { cacheSettings, outputFile, readOutputs, run, saveState } = require("./s3batch.js");

const outputs = outputFile();
const code = run(["cache", "restore"], { ...cacheSettings(), S3BATCH_OUTPUT_FILE: outputs });
saveState("restored", String(code === 0));
saveState("hit", readOutputs(outputs).cache_hit || "false");
process.exitCode = process.exitCode || code;

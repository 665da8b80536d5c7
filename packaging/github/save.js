// The post step of the cache action: save the paths, unless the exact key was restored.
"use strict";

const { cacheSettings, input, run } = require("./s3batch.js");

if (process.env.STATE_restored !== "true") {
  console.log("the cache was not looked for, so it is not saved");
} else if (process.env.STATE_hit === "true") {
  console.log("the cache of this key exists, so it is not saved again");
} else if (input("read-only") === "true") {
  console.log("read-only is true, so the cache is not saved");
} else {
  process.exitCode = run(["cache", "rebuild"], cacheSettings());
}

// The figures of this device as a file, which `ds-keras report --device=` draws.
"use strict";

function deviceFigures({ bundle, runtime, build, accelerator, times, routed, policy, fraction, settings }) {
  const { manifest } = bundle;
  return {
    format: "ds_keras.device",
    format_version: 1,
    date: new Date().toISOString(),
    network: manifest.name,
    bundle: bundle.id,
    quantization: manifest.quantization ?? null,
    device: { browser: navigator.userAgent, processors: navigator.hardwareConcurrency ?? null },
    runtime: { ...runtime, build, accelerator, threads: 1 },
    policy: { name: policy, budget: fraction, settings },
    times: { start: times.start, bodies: times.bodies, judge: times.judge, gate: times.gate },
    levels: times.levels.map((ms, level) => ({ level, madds: manifest.madds.start + manifest.madds.body[level], ms })),
    routed,
    expected: expectedTimes(manifest, policy, times),
  };
}

/** What each row of the budget table takes here: the table's passes, each at its measured time. */
function expectedTimes(manifest, policy, times) {
  return budgetRows(manifest, policy).filter((row) => row.length === 4).map(([, madds, accuracy, passes]) => ({
    madds,
    accuracy,
    ms: composed(times, policy, passes),
  }));
}

/** Offers text as a file to save. */
function saveAs(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Which level an image runs at, and what a budget sets. The rules of ds_keras.policies.
"use strict";

/** Probabilities of the classes. */
function softmax(logits) {
  const best = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const powers = Array.from(logits, (logit) => Math.exp(logit - best));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** The confidence of a cascade: the largest probability less the second. */
function margin(logits) {
  let best = -Infinity, second = -Infinity, sum = 0;
  for (const logit of logits) {
    second = Math.max(second, Math.min(best, logit));
    best = Math.max(best, logit);
  }
  for (const logit of logits) sum += Math.exp(logit - best);
  return Math.fround((1 - Math.exp(second - best)) / sum);
}

/** The level that the gate picks: the largest logit less shift x relative cost; the first of equal ones. */
function gateLevel(logits, shift, bodies) {
  const largest = bodies[bodies.length - 1];
  let level = 0, highest = -Infinity;
  bodies.forEach((cost, k) => {
    const score = logits[k] - Math.fround(shift) * (cost / largest);
    if (score > highest) [level, highest] = [k, score];
  });
  return level;
}

/** Multiply-adds of the largest level. */
function largestMadds(manifest) {
  return manifest.madds.start + manifest.madds.body.at(-1);
}

/** The rows of a policy in the bundle's budget table. */
function budgetRows(manifest, policy) {
  const table = manifest.policy.budget_table;
  return Object.hasOwn(table, policy) ? table[policy] : [];
}

/** The least and the most that a policy's table spends, as shares of the largest level; null without a table. */
function budgetRange(manifest, policy) {
  const rows = budgetRows(manifest, policy), largest = largestMadds(manifest);
  return rows.length ? { low: rows[0][1] / largest, high: Math.min(1, rows.at(-1)[1] / largest) } : null;
}

/** numpy.interp: `pick` gives the number of a row; of rows of equal cost, the last one counts. */
function interpolate(rows, wanted, pick) {
  let next = 0; // the first row that costs more
  while (next < rows.length && rows[next][1] <= wanted) next++;
  const below = rows[Math.max(next - 1, 0)], above = rows[Math.min(next, rows.length - 1)];
  if (below === above || below[1] >= wanted) return pick(below);
  return ((pick(above) - pick(below)) / (above[1] - below[1])) * (wanted - below[1]) + pick(below);
}

/** What a budget sets: the gate's shift, or the cascade's thresholds. `fraction` is a share of the largest level. */
function settingsAt(manifest, policy, fraction) {
  const rows = budgetRows(manifest, policy), largest = largestMadds(manifest), wanted = fraction * largest;
  if (!(fraction <= 1)) throw new Error(`a budget must be at most 1, the cost of the largest level, received ${fraction}`);
  if (!rows.length) throw new Error(`the bundle has no budget table for ${policy}`);
  if (!(rows[0][1] - 1e-6 * largest <= wanted)) throw new Error(`a budget of ${fraction} is out of reach of ${policy}: at least ${rows[0][1] / largest}`);
  return rows[0][0].map((_, i) => Math.fround(interpolate(rows, wanted, (row) => row[0][i])));
}

/** What the table expects of a budget on held-out images: {accuracy, passes of each level, or null}. */
function expectedAt(manifest, policy, fraction) {
  const rows = budgetRows(manifest, policy), wanted = fraction * largestMadds(manifest);
  const accuracy = interpolate(rows, wanted, (row) => row[2]);
  if (rows.some((row) => row.length < 4)) return { accuracy, passes: null };
  return { accuracy, passes: rows[0][3].map((_, level) => interpolate(rows, wanted, (row) => row[3][level])) };
}

/** The share of the images that end at each level, from how often each level's body runs. */
function endsFromPasses(manifest, policy, passes) {
  if (policy !== "cascade") return passes;
  const order = manifest.policy.cascade, ends = passes.map(() => 0);
  order.forEach((level, i) => (ends[level] = passes[level] - (i + 1 < order.length ? passes[order[i + 1]] : 0)));
  return ends.map((share) => Math.max(0, share));
}

// What the parts of the bundle take on this device. Browsers' clocks are coarse: batches are timed, not single images.
"use strict";

const BATCH_MS = 30, ROUNDS = 9, MAX_BATCH = 4096;

/** Milliseconds of one call, by the median of `rounds` batches; the parts take turns, in random order. */
async function timeInTurn(parts, progress, rounds = ROUNDS) {
  const counts = [], times = parts.map(() => []);
  for (const [i, part] of parts.entries()) {
    await part(); // opens what is not open yet
    let count = 1;
    const least = async () => Math.min(await timeBatch(part, count), await timeBatch(part, count));
    while ((await least()) < BATCH_MS && count < MAX_BATCH) count *= 2;
    counts.push(count);
    await progress((i + 1) / parts.length / (rounds + 1));
  }
  for (let round = 0; round < rounds; round++) {
    for (const [done, i] of shuffled(parts.length).entries()) {
      times[i].push((await timeBatch(parts[i], counts[i])) / counts[i]);
      await progress((round + 1 + (done + 1) / parts.length) / (rounds + 1));
    }
  }
  return times.map(median);
}

async function timeBatch(part, count) {
  const began = performance.now();
  for (let i = 0; i < count; i++) await part();
  return performance.now() - began;
}

function shuffled(count) {
  const order = [...Array(count).keys()];
  for (let i = count - 1; i > 0; i--) {
    const k = Math.floor(Math.random() * (i + 1));
    [order[i], order[k]] = [order[k], order[i]];
  }
  return order;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** What ds_keras.policies.Times holds, and each level as it runs: {start, bodies, judge, gate, levels}, milliseconds. */
async function timeParts(router, image, progress) {
  const { networks, order, bodies } = router, first = order[0], stays = order.slice(1).map(() => 0);
  const whole = bodies.map((_, k) => () => router.run(image, k));
  if (router.noGate) return { levels: await timeInTurn(whole, progress) };
  const route = await networks.run("route", image);
  const cheapest = gateLevel(route.gate, 1e6, bodies);
  const alone = async (name) => networks.run(name, route.features);
  const parts = [
    ...whole,
    ...bodies.map((_, k) => () => alone(`body_${k}`)),
    () => router.run(image, "cascade", stays),
    () => router.run(image, "gate", [1e6]),
  ];
  const found = await timeInTurn(parts, progress);
  networks.release(route);
  const count = bodies.length, levels = found.slice(0, count), body = found.slice(count, 2 * count);
  const start = Math.max(levels[first] - body[first], 0);
  const judge = Math.max(found[2 * count] - levels[first], 0);
  return { start, bodies: body, judge, gate: Math.max(found[2 * count + 1] - body[cheapest] - start, 0), levels };
}

/** Milliseconds of an image under a policy, from the times of the parts and how often each body runs. */
function composed(times, policy, passes) {
  const judge = policy === "cascade" ? times.judge : 0, gate = policy === "gate" ? times.gate : 0;
  return passes.reduce((sum, share, k) => sum + share * (times.bodies[k] + judge), times.start + gate);
}

/** The routed run on given images, next to the largest level: milliseconds of one image, levels and multiply-adds. */
async function timeRouted(router, images, policy, settings, progress) {
  const every = (run) => async () => {
    for (const image of images) await run(image);
  };
  const parts = [every((image) => router.run(image, policy, settings)), every((image) => router.run(image, router.bodies.length - 1))];
  const [routed, largest] = (await timeInTurn(parts, progress)).map((ms) => ms / images.length);
  const results = [];
  for (const image of images) results.push(await router.run(image, policy, settings));
  const mix = router.bodies.map((_, k) => results.filter(({ level }) => level === k).length / images.length);
  return { images: images.length, ms: routed, largest_ms: largest, mix, madds: results.reduce((sum, { madds }) => sum + madds, 0) / images.length };
}

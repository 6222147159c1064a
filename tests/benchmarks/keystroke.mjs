// How long the browse page takes from a key to the painted answer, in milliseconds.

/** Types each of `queries` a key at a time and takes it back; then ticks and unticks the first box of each facet. */
export async function keystrokes(page, { url, queries }) {
  await page.goto(url);
  const loaded = await page.evaluate(() => performance.getEntriesByType("navigation")[0].domComplete);
  const query = page.locator("#ed-query");
  await query.focus();
  await page.waitForTimeout(1500); // what the page prepares while nobody types
  await page.evaluate(watch);
  for (const words of queries) {
    for (const key of words) await press(page, key === " " ? "Space" : key);
    for (const _ of words) await press(page, "Backspace");
  }
  const keys = await page.evaluate(() => window.times.splice(0));
  for (const box of await page.locator(".ed-facet li:first-child input").all()) {
    await box.focus();
    await press(page, "Space");
    await press(page, "Space");
  }
  const ticks = await page.evaluate(() => window.times.splice(0));
  const tasks = await page.evaluate(() => window.EVALDOCK_SEARCH.tasks.length);
  return { tasks, loaded, keys, ticks };
}

async function press(page, key) {
  await page.keyboard.press(key);
  await page.waitForFunction(() => window.pending === 0);
}

function watch() {
  window.times = [];
  window.pending = 0;
  let begun = 0;
  const start = (event) => {
    begun = event.timeStamp;
    window.pending = 1;
  };
  // A task queued in the frame after the change runs once that frame is painted.
  const painted = () => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => {
      window.times.push(performance.now() - begun);
      window.pending = 0;
    };
    requestAnimationFrame(() => channel.port2.postMessage(null));
  };
  addEventListener("keydown", start, true);
  addEventListener("input", painted);
}

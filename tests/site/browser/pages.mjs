export async function title(page, { url }) {
  await page.goto(url);
  return page.title();
}

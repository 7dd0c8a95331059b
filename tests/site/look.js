// What is on a page, as data.
const all = (selector) => [...document.querySelectorAll(selector)]
const article = document.querySelector("article")
const named = (drawing) => drawing.querySelector("title, desc") || drawing.ariaLabel || drawing.ariaHidden
return {
  title: document.title,
  wide: document.documentElement.scrollWidth,
  drawings: all(".drawing svg").map((one) => one.getBoundingClientRect().right),
  ids: all("[id], a[name]").map((one) => one.id || one.name),
  links: all("a[href]").map((one) => one.getAttribute("href")),
  unnamed: all("article img").filter((one) => !one.alt.trim()).length
    + all("article svg:not(.twemoji *)").filter((one) => !named(one)).length,
  formulas: all("math").map((one) => [one.getBoundingClientRect().width, one.getBoundingClientRect().height]),
  programs: Object.fromEntries(all("article .tabbed-set").flatMap((set) => {
    const blocks = [...set.querySelectorAll(".tabbed-block")]
    return [...set.querySelectorAll(".tabbed-labels label")].map((label, i) => [label.textContent, blocks[i].textContent])
  })),
  values: all("#values-to-check-against ~ * td:nth-child(3)").map((cell) => cell.innerHTML.split("<br>")),
  text: article ? article.innerText : "",
  formula: all("math").map((one) => one.textContent).join("\n"),
}

// The contrast of each piece of text in the page with what is behind it, by WCAG, where it is too small.
const numbers = (colour) => {
  const found = colour.match(/[\d.e-]+/g).map(Number)
  const scale = colour.startsWith("color(") ? 255 : 1
  return [...found.slice(0, 3).map((one) => one * scale), found.length > 3 ? found[3] : 1]
}
const over = ([r, g, b, a], below) => [r, g, b].map((one, i) => a * one + (1 - a) * below[i])
const light = (colour) => {
  const [r, g, b] = colour.map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}
const behind = (element) => {
  if (!element) return [255, 255, 255]
  const colour = numbers(getComputedStyle(element).backgroundColor)
  return colour[3] === 1 ? colour.slice(0, 3) : over(colour, behind(element.parentElement))
}
const found = {}
const walker = document.createTreeWalker(document.querySelector(".md-content"), NodeFilter.SHOW_TEXT)
while (walker.nextNode()) {
  const element = walker.currentNode.parentElement
  if (!walker.currentNode.data.trim() || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue
  const style = getComputedStyle(element)
  const below = behind(element)
  const colour = element.closest("svg") ? style.fill : style.color
  if (!colour.startsWith("rgb") && !colour.startsWith("color(")) continue
  const both = [light(over(numbers(colour), below)), light(below)].sort((a, b) => a - b)
  const ratio = (both[1] + 0.05) / (both[0] + 0.05)
  const size = parseFloat(style.fontSize)
  const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700)
  if (ratio < (large ? 3 : 4.5)) found[walker.currentNode.data.trim().slice(0, 30)] = [ratio.toFixed(2), element.className, colour]
}
return found

// The gallery's filters. A card says in its data- attributes what it is, the form says what is wanted, and the address
// holds what the form says, as ?for=ties&family=Ranked does. The three meet in `show`.
(function () {
  "use strict";
  const form = document.getElementById("poz-filters");
  if (!form) return;
  const cards = [...document.querySelectorAll(".poz-card")];
  const count = document.getElementById("poz-count");
  const plain = (text) => text.toLowerCase().replace(/[-_]/g, "");

  // By the name of a filter: whether a card is what it asks for.
  const meets = {
    for: (card, purpose) => card.for.split(" ").includes(purpose),
    family: (card, family) => card.family === family,
    reads: (card, field) => card.reads.split(" ").includes(field),
    "reference-free": (card, answer) => card.free === answer,
    kernel: (card, answer) => card.kernel === answer,
    text: (card, text) => plain(text).trim().split(/\s+/).every((word) => card.text.includes(word)),
  };

  // The form as a list of [filter, value], without what was left open.
  function wanted() {
    return [...new FormData(form)].filter(([, value]) => value.trim() !== "");
  }

  function found(filters) {
    return cards.filter((card) => filters.every(([name, value]) => meets[name](card.dataset, value)));
  }

  // Puts filters into the form, and gives back those that it does not have.
  function fill(filters) {
    const unknown = [];
    for (const control of form.elements) {
      if (control.type === "checkbox") control.checked = false;
      else if ("value" in control && control.name) control.value = "";
    }
    for (const [name, value] of filters) {
      const controls = [...form.elements].filter((control) => control.name === name);
      const box = controls.find((control) => control.type === "checkbox" && control.value === value);
      const [first] = controls;
      if (box) box.checked = true;
      else if (first && !first.value && first.type === "search") first.value = value;
      else if (first && !first.value && [...(first.options || [])].some((option) => option.value === value)) first.value = value;
      else unknown.push(`${name}=${value}`);
    }
    return unknown;
  }

  // How the form words a filter, such as: what it is for: ties.
  function worded([name, value]) {
    const control = [...form.elements].find((one) => one.name === name && (one.type !== "checkbox" || one.value === value));
    if (control.type === "checkbox") return control.closest("details").querySelector("summary").firstChild.data + value;
    const said = control.options ? control.selectedOptions[0].text.replace(/ \(\d+\)$/, "") : value;
    return `${control.parentElement.firstChild.data.trim()}: ${said}`;
  }

  // For each filter a button that leaves it out, where that leaves anything.
  function ways(filters) {
    return filters.flatMap((filter) => {
      const others = filters.filter((one) => one !== filter);
      const left = found(others).length;
      if (!left) return [];
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = `${worded(filter)} (then ${left})`;
      button.addEventListener("click", () => {
        fill(others);
        keep("pushState");
        show();
        form.elements.text.focus();
      });
      return [button];
    });
  }

  function show(unknown = []) {
    const filters = wanted();
    const left = new Set(found(filters));
    for (const card of cards) card.hidden = !left.has(card);
    count.textContent = `${left.size} of ${cards.length} objectives.`;
    if (unknown.length) count.append(` There is no filter ${unknown.join(", ")}: it is left out.`);
    if (!left.size) {
      const buttons = ways(filters);
      count.append(buttons.length ? " Nothing is all of that. Leave out " : " Nothing is all of that, nor without any one of these. Reset, and begin anew.");
      buttons.forEach((button, place) => count.append(place ? " or " : "", button));
    }
    for (const box of form.querySelectorAll("details")) {
      const chosen = [...box.querySelectorAll(":checked")].map((one) => one.value);
      box.querySelector(".poz-chosen").textContent = chosen.join(", ") || "any";
    }
  }

  // The form into the address: as a new step of the history, or in place of the last.
  function keep(how) {
    const query = new URLSearchParams(wanted()).toString();
    if (location.search === (query && `?${query}`)) return;
    history[how](null, "", query ? `?${query}` : location.pathname);
  }

  function read() {
    show(fill(new URLSearchParams(location.search)));
  }

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    keep("pushState");
    show();
  });
  form.elements.text.addEventListener("input", () => {
    keep("replaceState"); // or "back" would take letters away
    show();
  });
  document.getElementById("poz-reset").addEventListener("click", () => {
    fill([]);
    keep("pushState");
    show();
  });
  addEventListener("popstate", read);
  form.hidden = false;
  read();
})();

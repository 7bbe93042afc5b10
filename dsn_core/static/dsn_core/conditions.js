"use strict";
/* The rows of a trigger's conditions: one more at a click, and what the chosen operator takes. */
document.addEventListener("DOMContentLoaded", () => {
    for (const box of document.querySelectorAll(".dsn-conditions")) {
        box.addEventListener("change", ({target}) => {
            if (target.name?.endsWith("-operator")) {
                const value = box.querySelector(`[name="${target.name.replace(/operator$/, "value")}"]`);
                value.placeholder = target.selectedOptions[0]?.dataset.hint ?? value.ariaLabel;
            }
        });

        const button = document.createElement("button");
        button.type = "button";
        button.className = "dsn-more";
        button.textContent = box.dataset.more;
        button.addEventListener("click", () => {
            const rows = [...box.querySelectorAll(".dsn-condition")];
            const last = rows.findLast((row) => row.querySelector("[name$='-path']"));
            if (!last) {
                return;
            }
            const row = last.cloneNode(true);
            row.classList.remove("dsn-refused");
            row.removeAttribute("aria-describedby");
            row.setAttribute("aria-label", row.getAttribute("aria-label").replace(/\d+/, rows.length + 1));
            row.querySelector(".errorlist")?.remove();
            for (const part of row.querySelectorAll("input, select, textarea")) {
                part.name = part.name.replace(/-\d+-/, `-${rows.length}-`);
                part.removeAttribute("id");
                part.value = "";
                if (part.placeholder) {
                    part.placeholder = part.ariaLabel;
                }
            }
            rows.at(-1).after(row);
            row.querySelector("input").focus();
        });
        box.append(button);
    }
});

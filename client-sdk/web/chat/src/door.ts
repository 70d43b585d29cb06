// Getting in: an account is made, or this device is let into one.

import type { Door, SavedLogin } from "@kith/client";

import { dialog, fill, h, toast } from "./dom.js";
import { errorText } from "./format.js";
import { t } from "./text/index.js";

const NAME_CHARS_MAX = 64;
const PASSWORD_CHARS_MIN = 8;

/** Shows the door until somebody is in. */
export function enter(app: Element, door: Door, why: string): Promise<SavedLogin> {
  return new Promise((resolve) => {
    let isNew = location.hash !== "#/log-in" && why === "";
    const show = (): void => {
      const name = h("input", { id: "name", name: "username", autocomplete: "username", autocapitalize: "none", spellcheck: "false", required: true, maxlength: NAME_CHARS_MAX });
      const hint = isNew ? h("small", { id: "password-hint" }, t.passwordHint) : undefined;
      const password = h("input", {
        id: "password",
        name: "password",
        type: "password",
        autocomplete: isNew ? "new-password" : "current-password",
        required: true,
        minlength: isNew ? PASSWORD_CHARS_MIN : 1,
        "aria-describedby": isNew ? "password-hint" : undefined,
      });
      const problem = h("p", { class: "problem", role: "alert" }, why);
      const submit = h("button", { class: "primary" }, isNew ? t.signUp : t.logIn);
      const onsubmit = async (event: Event): Promise<void> => {
        event.preventDefault();
        problem.textContent = "";
        submit.disabled = true;
        try {
          const entered = isNew
            ? await door.signUp(name.value.trim(), password.value, deviceTitle())
            : await door.logIn(name.value.trim(), password.value, deviceTitle());
          if (entered.recovery !== undefined) await showRecovery(entered.recovery);
          resolve(entered.login);
        } catch (error) {
          problem.textContent = errorText(error);
          submit.disabled = false;
          (isNew ? name : password).select();
        }
      };
      const other = (): void => {
        isNew = !isNew;
        why = "";
        show();
      };
      const form = h(
        "form",
        { class: "door", onsubmit, novalidate: false },
        h("img", { src: "/icon.svg", alt: "", width: 56, height: 56 }),
        h("h1", {}, t.app),
        h("p", { class: "tagline" }, t.tagline),
        h("label", { for: "name" }, t.name),
        name,
        h("label", { for: "password" }, t.password),
        password,
        hint,
        problem,
        submit,
        h("button", { type: "button", class: "quiet", onclick: other }, isNew ? t.haveAccount : t.newHere),
      );
      fill(app, h("main", { class: "door-page" }, form));
      name.focus();
    };
    show();
  });
}

function showRecovery(code: string): Promise<void> {
  return new Promise((resolve) => {
    const copy = async (): Promise<void> => {
      await navigator.clipboard.writeText(code);
      toast(t.copied);
    };
    const box = dialog(
      t.recoveryTitle,
      t.close,
      h("p", {}, t.recoveryText),
      h("output", { class: "code" }, code),
      h("div", { class: "buttons" }, h("button", { type: "button", class: "quiet", onclick: copy }, t.copy), h("button", { type: "button", class: "primary", onclick: () => box.close() }, t.recoveryDone)),
    );
    box.addEventListener("close", () => resolve());
  });
}

/** What this device is called in the list of devices. */
function deviceTitle(): string {
  const agent = navigator.userAgent;
  const browser = /Firefox|Edg|OPR|Chrome|Safari/.exec(agent)?.[0] ?? "Browser";
  const system = /Android|iPhone|iPad|Windows|Mac OS X|Linux/.exec(agent)?.[0] ?? "";
  return [browser === "Edg" ? "Edge" : browser === "OPR" ? "Opera" : browser, system].filter(Boolean).join(", ");
}

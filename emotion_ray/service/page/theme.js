// Light or dark: as the system has it, until somebody says otherwise.

const KEY = "emotion_ray.theme";
const system = matchMedia("(prefers-color-scheme: dark)");

function chosen() {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : system.matches ? "dark" : "light";
}

export function followTheme(button) {
  const apply = () => {
    document.documentElement.dataset.theme = chosen();
    button.setAttribute("aria-pressed", String(chosen() === "dark"));
  };
  button.addEventListener("click", () => {
    localStorage.setItem(KEY, chosen() === "dark" ? "light" : "dark");
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}

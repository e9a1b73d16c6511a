// Files that are chosen, or dropped anywhere on the page.
const $ = (id) => document.getElementById(id);

/** `classify` gets each list of files. */
export function watchFiles(classify) {
  $("files").onchange = async ({ target }) => {
    const files = [...target.files];
    target.value = ""; // otherwise choosing the same file again is no change
    if (files.length) await classify(files);
  };
  const drop = $("drop");
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  // Without this, a file dropped beside the field would replace the page.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    const files = [...event.dataTransfer.files];
    if (files.length) await classify(files);
  });
}

// The served model, which may change while the page is open.
import { requestMap } from "./map_request.js";
import { requestJson } from "./feedback.js";
import { showKnowledge } from "./knowledge.js";
import { model, setModel } from "./shown_model.js";

const $ = (id) => document.getElementById(id);

/** Show the model now and whenever it changes; `classify` gets a list of the chosen sample. */
export async function watchModel(classify) {
  try {
    const { model: ready } = await requestJson("readyz");
    const release = ready.release ? `@${ready.release}` : "";
    $("model").textContent = `${ready.name}${release} · ${ready.architecture} · version ${ready.version}`;
    if (ready.version !== model?.version) {
      setModel({ ...(await requestJson("v1/model")), requestMap });
      showKnowledge(model, classify);
    }
  } catch (error) {
    $("model").textContent = `Not ready: ${error.message}`;
  }
}

// Opens the model before the page's other modules have loaded.
import { Engine } from "./engine.js";

/** A promise of the engine; rejected with an Error if the model cannot run here. */
export const opening = Engine.open(new URL(".", document.baseURI));
opening.catch(() => {}); // app.js tells it, when it has loaded

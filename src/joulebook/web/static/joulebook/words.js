// The words of a state's values: the owner's, or the texts and flags that the device sent.

/** @import { Series } from "./history-client.js" */
/**
 * @typedef {object} StateWord
 * @property {string} word empty: the value has none
 * @property {string} colour the owner's, like #1f77b4; empty: chosen by the value
 */
/** @typedef {Map<number, StateWord>} StateWords by value */

/** Extract the words of a series. @param {Series} series @returns {StateWords} */
export function extractWords(series) {
  return new Map(
    (series.states ?? []).map(({ value, word, colour }) => [value, { word: word ?? "", colour: colour ?? "" }]),
  );
}

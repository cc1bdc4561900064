// The words of a state's values: the owner's, or the texts and flags that the device sent.

/** @import { Series, StateShare } from "./history-client.js" */
/**
 * @typedef {object} StateWord
 * @property {string} word empty: the value is its own word
 * @property {string} colour the owner's, like #1f77b4; empty: chosen by the value
 * @property {string[] | null} flags those of a list of flags
 */
/** @typedef {Map<number, StateWord>} StateWords by value */

/** @type {Map<string, number>} */
const flagCodes = new Map();

/**
 * Return a state's value; a flag, which has none, gets one below zero of its own.
 * @param {StateShare} state
 */
export function getStateValue({ value, word = "" }) {
  if (value != null) return value;
  const code = flagCodes.get(word) ?? -1 - flagCodes.size;
  flagCodes.set(word, code);
  return code;
}

/** Extract the words of a series. @param {Series} series @returns {StateWords} */
export function extractWords(series) {
  return new Map(
    (series.states ?? []).map((state) => {
      const { value, word = "", colour = "", flags = null } = state;
      return [getStateValue(state), { word: isUsual(value, word) ? "" : word, colour, flags }];
    }),
  );
}

/** Return whether a word is the number itself, or on or off. @param {number | null} value @param {string} word */
const isUsual = (value, word) =>
  value != null && (Number(word || NaN) === value || word === (value === 1 ? "on" : value === 0 ? "off" : null));

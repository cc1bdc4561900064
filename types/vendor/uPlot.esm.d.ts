// The types of the module that scripts/assets.py makes of uPlot.
export { default } from "uplot";

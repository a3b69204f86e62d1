// Runs before the script, and returns the functions that gaff calls: begin calls transform, end writes its value.
(() => {
	"use strict";
	const { parse, stringify, rawJSON } = JSON;
	const { isSafeInteger } = Number;
	const { keys, setPrototypeOf } = Object;
	const text = String;
	const integer = RegExp.prototype.test.bind(/^-?[0-9]+$/);
	const cut = Function.prototype.call.bind(String.prototype.slice);
	const plain = (list) => setPrototypeOf(list, null); // what the script gives all arrays has no effect on it
	const logs = plain([]);
	const out = { headers: {} };
	Object.defineProperty(BigInt.prototype, "toJSON", { value() { return rawJSON(text(this)); }, configurable: true, writable: true });
	const show = (v) => {
		if (typeof v === "object" && v !== null && !(v instanceof Error)) {
			try { return stringify(v) ?? text(v); } catch { /* circular */ }
		}
		return text(v);
	};
	const log = (...values) => {
		if (logs.length === 100) return;
		let line = "";
		for (let i = 0; i < values.length && line.length < 1000; i++) line += (i > 0 ? " " : "") + show(values[i]);
		logs[logs.length] = cut(line, 0, 1000);
	};
	globalThis.console = { log, info: log, warn: log, error: log, debug: log };
	const exact = (name, value, context) =>
		typeof value === "number" && !isSafeInteger(value) && context?.source !== undefined && integer(context.source) ? BigInt(context.source) : value;
	const begin = (transform, event, large) => transform(large ? parse(event, exact) : parse(event), out);
	const headers = () => {
		const all = { __proto__: null };
		for (const name of keys(out.headers ?? {})) {
			const value = out.headers[name];
			if (typeof value !== "string" && typeof value !== "number" && typeof value !== "boolean")
				throw new TypeError(`the header ${name} is ${value === null ? "null" : typeof value}; set a string`);
			all[name] = text(value);
		}
		return all;
	};
	const end = (value) => {
		const rest = stringify(plain([headers(), logs])) + "\n";
		if (value === null) return "D" + rest;
		if (typeof value === "string") return "T" + rest + value;
		const body = typeof value === "object" ? stringify(value) : undefined;
		if (body === undefined)
			throw new TypeError(`transform returned ${typeof value}; return an object, an array, a string, or null to send nothing`);
		return "J" + rest + body;
	};
	return [begin, end];
})()

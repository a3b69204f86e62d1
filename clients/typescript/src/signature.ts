// HMAC-SHA-256 without promises: Web Crypto has only an asynchronous one, and a caller that forgets to await it would accept
// every signature. (FIPS 180-4, RFC 2104.)

const primes: number[] = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p !== 0)) primes.push(n);

/** The first 32 bits of the fraction of a number. */
const fraction = (x: number) => ((x - Math.floor(x)) * 2 ** 32) | 0;
const roundConstants = Int32Array.from(primes, (p) => fraction(Math.cbrt(p)));
const initialState = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));

const rotate = (x: number, n: number) => (x >>> n) | (x << (32 - n));

function sha256(message: Uint8Array): Uint8Array {
  const padded = new Uint8Array((((message.length + 8) >> 6) + 1) << 6);
  padded.set(message);
  padded[message.length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(message.length / 2 ** 29));
  view.setUint32(padded.length - 4, message.length << 3);

  const state = Int32Array.from(initialState);
  const words = new Int32Array(64);
  for (let block = 0; block < padded.length; block += 64) {
    for (let i = 0; i < 64; i++) {
      if (i < 16) {
        words[i] = view.getInt32(block + 4 * i);
        continue;
      }
      const a = words[i - 15]!;
      const b = words[i - 2]!;
      const s0 = rotate(a, 7) ^ rotate(a, 18) ^ (a >>> 3);
      const s1 = rotate(b, 17) ^ rotate(b, 19) ^ (b >>> 10);
      words[i] = words[i - 16]! + s0 + words[i - 7]! + s1;
    }
    let [a, b, c, d, e, f, g, h] = state as unknown as [number, number, number, number, number, number, number, number];
    for (let i = 0; i < 64; i++) {
      const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + roundConstants[i]! + words[i]!) | 0;
      const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => (state[i] = state[i]! + x));
  }
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((x, i) => digest.setInt32(4 * i, x));
  return new Uint8Array(digest.buffer);
}

function hmac(secret: string, message: string): string {
  const encoder = new TextEncoder();
  let key: Uint8Array = encoder.encode(secret);
  if (key.length > 64) key = sha256(key);
  const keyed = (mask: number, data: Uint8Array) => {
    const all = new Uint8Array(64 + data.length).fill(mask, 0, 64);
    key.forEach((byte, i) => (all[i] = byte ^ mask));
    all.set(data, 64);
    return sha256(all);
  };
  return Array.from(keyed(0x5c, keyed(0x36, encoder.encode(message))), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The HMAC-SHA-256 of a payload in hex, as x-fal-signature and x-lastframe-signature have it. */
export function generateWebhookSignature(payload: string, secret: string): string {
  return hmac(secret, payload);
}

/** Whether a signature in hex is that of the payload. A missing or short signature is false. The time does not depend on where they differ. */
export function verifyWebhookSignature(payload: string, signature: string | null | undefined, secret: string): boolean {
  if (!secret) throw new TypeError("the secret is empty: anyone could sign with it");
  const expected = hmac(secret, payload);
  if (typeof signature !== "string" || signature.length !== expected.length) return false;
  let difference = 0;
  for (let i = 0; i < expected.length; i++) difference |= expected.charCodeAt(i) ^ signature.charCodeAt(i);
  return difference === 0;
}

/** Whether a Unix time in seconds is at most so many seconds from now. Text that is not a number is false. */
export function validateWebhookTimestamp(timestamp: string | null | undefined, tolerance = 300): boolean {
  if (!timestamp || !/^\d{1,12}$/.test(timestamp)) return false;
  return Math.abs(Math.floor(Date.now() / 1000) - Number(timestamp)) <= tolerance;
}

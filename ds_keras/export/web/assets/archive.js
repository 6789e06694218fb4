// ZIP archives: a bundle in one file (stored members), and its parts (compressed members). No size is believed before it is checked.
"use strict";

const MAX_MEMBERS = 10000, MAX_RATIO = 1032; // deflate packs no better

/** The members of an archive by name: {method, flags, size, data}, where data is still compressed. */
function readArchive(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - 22;
  const least = Math.max(0, end - 65535);
  while (end >= least && view.getUint32(end, true) !== 0x06054b50) end--;
  need(end >= least && end >= 0, "the end of a ZIP archive", `${bytes.length} bytes`);
  const count = view.getUint16(end + 10, true);
  need(count <= MAX_MEMBERS, `at most ${MAX_MEMBERS} members`, count);
  let at = view.getUint32(end + 16, true);
  const members = new Map();
  for (let i = 0; i < count; i++) {
    need(at + 46 <= end && view.getUint32(at, true) === 0x02014b50, "a member for each entry", i);
    const [flags, method] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true)];
    const [packed, size] = [view.getUint32(at + 20, true), view.getUint32(at + 24, true)];
    const [named, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(at + offset, true));
    const local = view.getUint32(at + 42, true);
    need(at + 46 + named <= end, "names within the archive", i);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + named));
    need(local + 30 <= end && view.getUint32(local, true) === 0x04034b50, "members within the archive", name);
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    need(start + packed <= end, "members within the archive", name);
    members.set(name, { flags, method, size, data: bytes.subarray(start, start + packed) });
    at += 46 + named + extra + comment;
  }
  return members;
}

/** The bytes of a member that is stored as it is. */
function storedMember(members, name, limit) {
  const member = members.get(name);
  need(member, `a member ${name}`, [...members.keys()]);
  const plain = member.method === 0 && !(member.flags & 1) && member.size === member.data.length;
  need(plain, `${name} stored as it is`, { method: member.method, size: member.size });
  need(member.size <= limit, `${name} of at most ${limit} bytes`, member.size);
  return member.data;
}

/** The bytes of a member, unpacked. */
async function unpackedMember(members, name, limit) {
  const member = members.get(name);
  if (member && member.method === 0) return storedMember(members, name, limit);
  need(member && member.method === 8 && !(member.flags & 1), `a member ${name}`, [...members.keys()]);
  need(member.size <= limit, `${name} of at most ${limit} bytes`, member.size);
  return inflated(member.data, "deflate-raw", member.size);
}

/** Unpacks "deflate-raw" or "gzip" to exactly `size` bytes; refuses more as soon as they come. */
async function inflated(data, format, size) {
  need(size <= MAX_RATIO * (data.length + 1), `at most ${MAX_RATIO} times the ${data.length} packed bytes`, size);
  const made = new Uint8Array(size);
  const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream(format));
  const reader = stream.getReader();
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > size) {
      await reader.cancel();
      need(false, `${size} unpacked bytes`, "more");
    }
    made.set(value, at);
    at += value.length;
  }
  need(at === size, `${size} unpacked bytes`, at);
  return made;
}

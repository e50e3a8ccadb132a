/*
 * A reporter for Node's test runner: flat TAP with what went wrong in
 * comments, for TAP::Harness, which neither counts inner tests nor reads the
 * YAML of Node's own reporter.
 */
import { inspect } from 'node:util';

const comment = text => text.replace(/^/gm, '# ');

export default async function* report(source) {
  let count = 0;
  for await (const { type, data } of source) {
    if (!['test:pass', 'test:fail'].includes(type) || data.details?.type === 'suite')
      continue;
    const failed = type === 'test:fail';
    const error = data.details?.error;
    if (failed && error?.failureType === 'subtestsFailed')
      continue;
    yield `${failed ? 'not ' : ''}ok ${++count} - ${data.name.replace(/[#\n]/g, ' ')}\n`;
    if (failed)
      yield `${comment(inspect(error?.cause ?? error, { depth: 5 }))}\n`;
  }
  yield `1..${count}\n`;
}

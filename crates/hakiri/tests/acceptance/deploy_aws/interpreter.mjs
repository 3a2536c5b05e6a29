// Runs a state machine on an interpreter, with calls that are answered from a script.
// Arguments: the folder of the packages, the definition, and { input, answers: { "op" or "step N": [answer, …] } }; an answer that
// is a text is an error of that name, and the last one is given for ever. Prints what came of it.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [, , packages, definition, script] = process.argv;
const { StateMachine } = await import(pathToFileURL(`${packages}/node_modules/aws-local-stepfunctions/build/main.node.esm.js`));
const { input, answers } = JSON.parse(script);
const calls = [];
const others = [];
let atOnce = 0;
let most = 0;

const call = async ({ Payload: event }) => {
  const name = event.op === 'step' ? `step ${event.step}` : event.op;
  calls.push(name);
  most = Math.max(most, ++atOnce);
  await new Promise((done) => setTimeout(done, 20));
  atOnce--;
  const left = answers[name];
  const answer = left.length > 1 ? left.shift() : left[0];
  if (typeof answer === 'string') throw Object.assign(new Error(answer), { name: answer });
  return { StatusCode: 200, Payload: answer };
};
const other = async (parameters) => {
  others.push(parameters);
  return {};
};

const named = (value) => ({ Begin: value, Step: value, Commit: value, HandOver: value, FollowOn: value, Run: value });
const machine = new StateMachine(JSON.parse(readFileSync(definition, 'utf8')));
const { result } = machine.run(input, {
  overrides: {
    taskResourceLocalHandlers: { ...named(call), FollowOn: other, Run: other },
    waitTimeOverrides: { WaitToBegin: 1, WaitForStep: 1, WaitToCommit: 1 },
    retryIntervalOverrides: named(1),
  },
  context: { StateMachine: { Id: 'the-machine' }, Execution: { Id: 'the-execution', Input: input } },
});
const ended = await result.then(() => 'succeeded', (error) => error.cause?.name ?? error.name);
console.log(JSON.stringify({ ended, calls, others, most }));

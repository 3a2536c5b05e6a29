// The shape of project.ts, the one file that is written anew for every project. Not among the generated files: it lets
// the others be checked where they lie.

/** The project's name. */
export const PROJECT: string;
/** A hash over the manifest's texts: another one means that what is due may have changed. */
export const BUILD: string;
/** The pipelines with a schedule. */
export const PIPELINES: readonly string[];
/** The names of the secrets that are passed on to the container of each pipeline. */
export const SECRETS: Readonly<Record<string, readonly string[]>>;
/** How long a container that nobody calls stays, such as `2m`. */
export const SLEEP_AFTER: string;

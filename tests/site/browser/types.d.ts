// What the scripts of the site share through `window`, for the type checker.

interface SearchData {
  version: number;
  harnesses: { name: string; title: string; url: string }[];
  endpointTypes: string[];
  capabilities: string[];
  architectures: string[];
  tasks: SearchRow[];
}

type SearchRow = [
  name: string,
  harness: number,
  title: string,
  description: string,
  endpointTypes: number[],
  capabilities: number[],
  architectures: number[],
  url: string,
];

interface Synonyms {
  words: string[];
  names: string[];
}

interface Facet {
  key: string;
  label: string;
  missing: string;
  values: string[];
  of: number[][];
}

interface IndexedTask {
  name: string;
  harness: number;
  title: string;
  description: string;
  url: string;
  folded: { name: string; title: string; harness: string; tags: string; description: string };
  joined: string;
  id: string;
  all: string;
}

interface SearchIndex {
  tasks: IndexedTask[];
  facets: Facet[];
  harnesses: SearchData["harnesses"];
  byName: number[];
  rank: Uint32Array;
  harnessRank: Uint32Array;
  synonyms: Synonyms[];
  guesses: Map<Synonyms, Float64Array>;
}

interface Unit {
  tokens: string[];
  groups: Synonyms[];
}

interface FacetRow {
  item: HTMLLIElement;
  box: HTMLInputElement;
  count: HTMLElement;
  last: number;
  idle: boolean;
}

interface Found {
  found: number[];
  counts: Uint32Array[];
  units: Unit[];
  broad: boolean;
}

type Sort = "best" | "name" | "harness";

interface State {
  query: string;
  chosen: Map<string, Set<string>>;
  sort: Sort;
  page: number;
}

interface Window {
  EVALDOCK_SEARCH?: SearchData;
  EVALDOCK_SYNONYMS?: Synonyms[];
  evaldockWords: {
    fold(text: string): string;
    tokensOf(text: string): string[];
    parse(tokens: string[], synonyms: Synonyms[], broad: boolean): Unit[];
    scoreTask(
      task: IndexedTask,
      at: number,
      units: Unit[],
      guesses: (Float64Array | undefined)[],
      whole: string,
    ): number;
    guess(task: IndexedTask, group: Synonyms): number;
    marks(text: string, units: Unit[]): [number, number][];
  };
  evaldockFind: {
    UNKNOWN: string;
    build(data: SearchData, synonyms: Synonyms[]): SearchIndex;
    prepare(index: SearchIndex): boolean;
    select(index: SearchIndex, state: Pick<State, "query" | "chosen" | "sort">): Found;
  };
  evaldockAddress: {
    LONGEST_QUERY: number;
    nothing(): State;
    read(fragment: string, facets: Facet[]): { state: State; ignored: string[] };
    write(state: State, facets: Facet[]): string;
  };
  evaldockFacets: {
    make<Tag extends keyof HTMLElementTagNameMap>(
      tag: Tag,
      className: string,
      ...children: (Node | string)[]
    ): HTMLElementTagNameMap[Tag];
    makeFacet(
      facet: Facet,
      choose: (key: string, value: string, on: boolean) => void,
    ): { fieldset: HTMLElement; show(counts: Uint32Array, chosen: Set<string> | undefined): void };
    makeChosen(facet: Facet, value: string, remove: () => void): HTMLElement;
  };
}

// What people type, and what tasks about it are called. Whoever types one of `words` also finds tasks that speak of
// the others and tasks called one of `names`; a name leads to its subject only when nothing carries that name.
// A name that starts with "=" must be a whole word, not its beginning: language codes begin everything else too.
// All in lower case, with a space between words.
window.EVALDOCK_SYNONYMS = [
  {
    words: ["math", "maths", "mathematics", "mathematical", "arithmetic"],
    names: ["aime", "amc", "asdiv", "gsm8k", "mathvista", "mgsm", "minerva", "mmath", "olympiad", "svamp"],
  },
  {
    words: ["code", "coding", "programming", "code generation", "software engineering"],
    names: ["apps", "bigcode", "codegeneration", "ds1000", "humaneval", "livecodebench", "mbpp", "scicode", "swe bench"],
  },
  {
    words: ["tool", "tools", "function calling", "tool calling", "tool use"],
    names: ["api bank", "bfcl", "tau bench", "tau2", "toolbench"],
  },
  {
    words: ["vision", "visual", "image", "images", "picture", "multimodal", "vlm"],
    names: ["ai2d", "chartqa", "docvqa", "mathvista", "mmmu", "ocrbench", "textvqa", "vqa"],
  },
  {
    words: ["audio", "speech", "asr"],
    names: ["librispeech", "voicebench"],
  },
  {
    words: ["multilingual", "languages", "non english", "translated", "translation"],
    names: ["flores", "global mmlu", "include", "mgsm", "mmath", "mmlu prox", "wikilingua", "xnli", "xquad"],
  },
  {
    words: ["safety", "harm", "harmful", "toxicity", "toxic", "jailbreak", "red team", "security"],
    names: ["aegis", "garak", "harmbench", "realtoxicityprompts", "toxigen", "wildguard"],
  },
  { words: ["bias", "fairness", "stereotypes"], names: ["bbq", "crows pairs", "winogender"] },
  {
    words: ["retrieval", "embedding", "embeddings", "rag"],
    names: ["beir", "fiqa", "hotpotqa", "miracl", "mteb", "nfcorpus", "ragas", "scidocs"],
  },
  { words: ["instruction following", "instructions"], names: ["ifbench", "ifeval", "multi if"] },
  { words: ["reasoning", "logic"], names: ["agieval", "arc challenge", "bbh", "gpqa", "musr", "zebra"] },
  {
    words: ["commonsense", "common sense"],
    names: ["hellaswag", "openbookqa", "piqa", "social iqa", "winogrande"],
  },
  { words: ["knowledge", "facts", "trivia"], names: ["mmlu", "natural questions", "simpleqa", "triviaqa"] },
  {
    words: ["hallucination", "hallucinations", "factuality", "truthfulness"],
    names: ["halueval", "simpleqa", "truthfulqa"],
  },
  {
    words: ["science", "physics", "chemistry", "biology"],
    names: ["arc challenge", "gpqa", "hle", "scicode", "sciq"],
  },
  {
    words: ["medicine", "medical", "health", "healthcare", "clinical"],
    names: ["healthbench", "medhelm", "medmcqa", "medqa", "pubmedqa"],
  },
  { words: ["law", "legal"], names: ["legalbench", "lexglue"] },
  { words: ["finance", "financial", "economics"], names: ["financebench", "finqa", "fiqa"] },
  {
    words: ["long context", "context length"],
    names: ["babilong", "infinitebench", "longbench", "needle", "niah", "ruler"],
  },
  {
    words: ["agent", "agents", "agentic"],
    names: ["browsecomp", "gaia", "osworld", "swe bench", "tau bench", "tau2", "terminal bench", "webarena"],
  },
  {
    words: ["conversation", "dialogue", "multi turn"],
    names: ["alpaca eval", "arena hard", "mt bench", "mtbench"],
  },
  { words: ["summarization", "summarisation", "summary"], names: ["cnn dailymail", "wikilingua", "xsum"] },
  { words: ["reading comprehension", "reading"], names: ["boolq", "drop", "race", "squad"] },
  { words: ["perplexity", "language modeling", "language modelling"], names: ["lambada", "pile", "wikitext"] },
  { words: ["logprobs", "log probabilities", "loglikelihood", "logits"], names: [] },
  { words: ["chain of thought"], names: ["=cot"] },
  { words: ["zero shot", "zeroshot", "0 shot"], names: [] },
  { words: ["arabic"], names: ["=ar"] },
  { words: ["bengali"], names: ["=bn"] },
  { words: ["chinese", "mandarin"], names: ["=zh"] },
  { words: ["czech"], names: ["=cs"] },
  { words: ["dutch"], names: ["=nl"] },
  { words: ["english"], names: ["=en"] },
  { words: ["french"], names: ["=fr"] },
  { words: ["german"], names: ["=de"] },
  { words: ["greek"], names: ["=el"] },
  { words: ["hebrew"], names: ["=he"] },
  { words: ["hindi"], names: ["=hi"] },
  { words: ["indonesian"], names: ["=id"] },
  { words: ["italian"], names: ["=it"] },
  { words: ["japanese"], names: ["=ja"] },
  { words: ["korean"], names: ["=ko"] },
  { words: ["persian", "farsi"], names: ["=fa"] },
  { words: ["polish"], names: ["=pl"] },
  { words: ["portuguese"], names: ["=pt"] },
  { words: ["russian"], names: ["=ru"] },
  { words: ["spanish"], names: ["=es"] },
  { words: ["swahili"], names: ["=sw"] },
  { words: ["swedish"], names: ["=sv"] },
  { words: ["turkish"], names: ["=tr"] },
  { words: ["ukrainian"], names: ["=uk"] },
  { words: ["vietnamese"], names: ["=vi"] },
];

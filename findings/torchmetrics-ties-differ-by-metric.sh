#!/bin/sh
# torchmetrics 1.9.0: of one query whose two best clips score alike, MRR may be 1 and recall at 1 be 0, or the reverse.
#
# RetrievalMRR, RetrievalMAP and RetrievalPrecision take their order from torch.topk, RetrievalRecall, RetrievalHitRate and
# RetrievalRPrecision from torch.argsort, and the two order equal scores differently: the metrics of one table are those of
# different rankings. The same recording under two names is enough for equal scores.
#
# Seen with torch 2.13.0, of 100 queries each: MRR 1 with recall@1 0 for 23, 12 and 22 queries among 10, 100 and 1000
# clips; MRR 0.5 with recall@1 1 for 14, 22 and 21; precision@1 unlike recall@1 for 57, 45 and 47.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torchmetrics==1.9.0 torch==2.13.0 numpy==2.2.6
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import torch
import torchmetrics
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_precision, retrieval_recall
from torchmetrics.functional.retrieval import retrieval_reciprocal_rank

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__.split("+")[0])
generator = torch.Generator().manual_seed(0)
for clips in (10, 100, 1000):
    found = []
    for _ in range(100):
        scores, relevant = torch.rand(clips, generator=generator), torch.zeros(clips, dtype=torch.long)
        alike = torch.randperm(clips, generator=generator)[:2]
        scores[alike], relevant[alike[0]] = 2.0, 1
        precision, recall, hit = (
            metric(scores, relevant, top_k=1).item()
            for metric in (retrieval_precision, retrieval_recall, retrieval_hit_rate)
        )
        found.append((retrieval_reciprocal_rank(scores, relevant).item(), precision, recall, hit))
    higher = sum(mrr == 1 and recall == 0 for mrr, _, recall, _ in found)
    lower = sum(mrr < 1 and recall == 1 for mrr, _, recall, _ in found)
    unlike = sum(precision != recall for _, precision, recall, _ in found)
    print(f"{clips} clips, 100 queries: MRR 1 with recall@1 0: {higher}; MRR 0.5 with recall@1 1: {lower};",
          f"precision@1 unlike recall@1, of one relevant clip: {unlike}")
    assert higher + lower > 10 and unlike > 10 and all(hit == recall for *_, recall, hit in found), "the behaviour changed"
PYTHON

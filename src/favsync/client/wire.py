"""Requests of one client: who it is, what became of them, whether to send them again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus

from yarl import URL

from favsync.client.answers import check_status
from favsync.client.auth import Auth
from favsync.client.clock import Clock
from favsync.client.retries import Retry, tried
from favsync.client.session import Answer, Request, Session, Stream
from favsync.core.timestamp import US_PER_S


@dataclass(frozen=True, slots=True)
class Wire:
    """`bytes_max`: of one answer, unpacked."""

    session: Session
    auth: Auth
    clock: Clock
    retry: Retry | None
    bytes_max: int

    async def ask(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        wait_s: float = 0.0,
    ) -> Answer:
        """An answer of 2xx, or of 304 where a tag was sent. Raises any ClientError but Unsendable."""
        request = Request(method, url, headers, body, wait_s)
        return await tried(lambda: self._once(request), self.retry, wait_s)

    async def _once(self, request: Request) -> Answer:
        proof = await self.auth.headers()
        answer = await self.session.ask(_proven(request, proof), self.clock, bytes_max=self.bytes_max)
        if answer.status == HTTPStatus.UNAUTHORIZED and await self.auth.renew():
            proof = await self.auth.headers()
            answer = await self.session.ask(_proven(request, proof), self.clock, bytes_max=self.bytes_max)
        if answer.status != HTTPStatus.NOT_MODIFIED or "If-None-Match" not in request.headers:
            self._check(answer, proof)
        return answer

    async def open(self, url: URL, headers: Mapping[str, str]) -> Stream:
        """An answer of 2xx that goes on. Raises as `ask` does, and makes one attempt."""
        request = Request("GET", url, headers)
        proof = await self.auth.headers()
        stream = await self.session.stream(_proven(request, proof), self.clock)
        if stream.status == HTTPStatus.UNAUTHORIZED and await self.auth.renew():
            stream.close()
            proof = await self.auth.headers()
            stream = await self.session.stream(_proven(request, proof), self.clock)
        if stream.status >= HTTPStatus.MULTIPLE_CHOICES:
            try:
                self._check(await stream.answer(), proof)
            finally:
                stream.close()
        return stream

    def _check(self, answer: Answer, proof: Mapping[str, str]) -> None:
        secrets = {part for value in proof.values() for part in (value, value.rpartition(" ")[2]) if part}
        check_status(answer, secrets, self._now_s)

    def _now_s(self) -> float:
        """By the service's clock, which a date in Retry-After is of."""
        return self.clock.now_us() / US_PER_S


def _proven(request: Request, proof: Mapping[str, str]) -> Request:
    return replace(request, headers={**request.headers, **proof})

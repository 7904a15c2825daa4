(function () {
  var box = document.getElementById("filter"), input = box.querySelector("input"), count = box.querySelector("output");
  var bodies = Array.prototype.slice.call(document.querySelectorAll("tbody"));
  box.style.display = "block";
  input.addEventListener("input", function () {
    var wanted = input.value.trim().toLowerCase(), policies = {};
    bodies.forEach(function (body) {
      var found = !wanted || (body.textContent + " " + (body.dataset.ids || "")).toLowerCase().indexOf(wanted) >= 0;
      body.classList.toggle("gone", !found);
      if (found && body.dataset.policy) { policies[body.dataset.policy] = 1; }
    });
    count.textContent = wanted ? Object.keys(policies).length + " policies" : "";
  });
})();
